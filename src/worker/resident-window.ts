/**
 * ResidentWindow: which offsets of a partition are so new that their bytes are surely still in the system's page cache,
 * and may be read on the loop. Older ones go to the disk thread.
 *
 * Rule     bytes are resident while the shard has written less than windowBytes since. The count is cut into eras; a
 *          partition notes the log end at which each era began for it, and forgets eras that fell out of the window.
 * Cost     one comparison a write, at most ERAS entries a partition, nothing a record
 */
import type { Offset } from '../model/ids.ts'

const ERAS = 8

/** Where a partition's log ended when an era began; the newest last. */
export interface ResidentMarks {
  readonly eras: number[]
  readonly offsets: Offset[]
}

export function newResidentMarks(): ResidentMarks {
  return { eras: [], offsets: [] }
}

/** The log was cut: what was noted says nothing any more. */
export function clearMarks(marks: ResidentMarks): void {
  marks.eras.length = 0
  marks.offsets.length = 0
}

export class ResidentWindow {
  readonly #eraBytes: number
  #writtenBytes = 0

  constructor(windowBytes: number) {
    this.#eraBytes = Math.max(1, Math.floor(windowBytes / ERAS))
  }

  /** `bytes` are about to be appended at `logEndOffset`. */
  onWrite(marks: ResidentMarks, logEndOffset: Offset, bytes: number): void {
    const era = this.#era()
    if (marks.eras.at(-1) !== era) {
      marks.eras.push(era)
      marks.offsets.push(logEndOffset)
      this.#forgetOld(marks, era)
    }
    this.#writtenBytes += bytes
  }

  /** True when records at and after `offset` are resident. */
  isResident(marks: ResidentMarks, offset: Offset): boolean {
    this.#forgetOld(marks, this.#era())
    const first = marks.offsets[0]
    return first !== undefined && offset >= first
  }

  #era(): number {
    return Math.floor(this.#writtenBytes / this.#eraBytes)
  }

  #forgetOld(marks: ResidentMarks, era: number): void {
    while (marks.eras.length > 0 && marks.eras[0]! <= era - ERAS) {
      marks.eras.shift()
      marks.offsets.shift()
    }
  }
}
