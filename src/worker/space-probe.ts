/**
 * SpaceProbe: whether the disk has room (R8): produce is refused before the device is full, so that a reserve is
 * left for checkpoints and deletes, and taken again by itself.
 *
 * Thread      the shard; one statfs a period, none between
 * Rule        low when free < lowBytes; no longer low when free >= lowBytes + lowBytes / 2, so that it does not flutter
 * Cost        asks after probeBytes were written or probeMs passed, whichever is first
 */
import type { Clock } from '../base/clock.ts'
import type { FileSystem } from '../io/file-system.ts'

export interface SpaceProbeOptions {
  readonly files: FileSystem
  readonly clock: Clock
  readonly dataDir: string
  /** Free bytes below which produce is refused. */
  readonly lowBytes: number
  readonly probeBytes: number
  readonly probeMs: number
  readonly onChange: (isLow: boolean, freeBytes: number) => void
}

export class SpaceProbe {
  readonly #options: SpaceProbeOptions
  #writtenBytes = 0
  #nextProbeMs = 0
  isLow = false

  constructor(options: SpaceProbeOptions) {
    this.#options = options
  }

  get nextProbeMs(): number {
    return this.#nextProbeMs
  }

  onWritten(bytes: number): void {
    this.#writtenBytes += bytes
  }

  /** A write found no space: low at once, whatever the probe says until it is asked again. */
  onNoSpace(): void {
    this.#nextProbeMs = this.#options.clock.monotonicMs() + this.#options.probeMs
    this.#set(true, this.#freeBytes())
  }

  /** Asks if it is time to; true when it did. */
  step(nowMs: number): boolean {
    if (nowMs < this.#nextProbeMs && this.#writtenBytes < this.#options.probeBytes) return false
    this.#nextProbeMs = nowMs + this.#options.probeMs
    this.#writtenBytes = 0
    const freeBytes = this.#freeBytes()
    const { lowBytes } = this.#options
    this.#set(freeBytes < (this.isLow ? lowBytes + lowBytes / 2 : lowBytes), freeBytes)
    return true
  }

  #freeBytes(): number {
    return this.#options.files.freeBytes(this.#options.dataDir)
  }

  #set(isLow: boolean, freeBytes: number): void {
    if (isLow === this.isLow) return
    this.isLow = isLow
    this.#options.onChange(isLow, freeBytes)
  }
}
