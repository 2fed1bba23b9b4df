/**
 * SegmentAppender: the descriptor of a segment that takes writes, and the one place where batches reach a file.
 *
 * Owns        one pinned descriptor of the OpenFileCache, from the first write until the segment is closed and synced
 * Invariants  A1 bytes are written at an explicit position, the segment's end; the count is checked (R1)
 * Failure     a short count hides the error that caused it, so the rest is written once more and that error counts; if there is
 *             none and it is short again: EIO. After any error the bytes past the segment's end are undefined until cutBack()
 */
import { type Fd, StorageError } from '../io/file-system.ts'
import type { LogContext } from './log-context.ts'

export class SegmentAppender {
  readonly path: string
  readonly #context: LogContext
  readonly fd: Fd

  /** `isNew`: the file must be empty or absent, anything in it would be somebody's records. */
  constructor(context: LogContext, path: string, isNew: boolean) {
    this.#context = context
    this.path = path
    this.fd = context.openFiles.acquire(path, isNew ? 'create' : 'write')
    if (!isNew) return
    const bytes = context.files.sizeOf(this.fd)
    if (bytes === 0) return
    this.close()
    throw new StorageError('EEXIST', `${path} has ${bytes} bytes, a new segment was to be begun there`)
  }

  /** Writes `buffers`, together `bytes` long, at `filePosition`; all of them or an error. */
  write(buffers: readonly Uint8Array[], bytes: number, filePosition: number): void {
    const written = this.#context.files.write(this.fd, buffers, filePosition)
    if (written === bytes) return
    if (written < 0 || written > bytes) throw shortWrite(this.path, written, bytes)
    const rest = dropFront(buffers, written)
    const writtenNow = this.#context.files.write(this.fd, rest, filePosition + written)
    if (written + writtenNow !== bytes) throw shortWrite(this.path, written + writtenNow, bytes)
  }

  /** Undoes failed writes: the file ends at `bytes` again. An error here is fatal, whatever its code. */
  cutBack(bytes: number): void {
    try {
      this.#context.files.truncate(this.fd, bytes)
    } catch (error) {
      throw new StorageError('EIO', `${this.path} could not be cut back to ${bytes} bytes`, { cause: error })
    }
  }

  close(): void {
    this.#context.openFiles.release(this.fd)
  }
}

function shortWrite(path: string, written: number, bytes: number): StorageError {
  return new StorageError('EIO', `${path}: ${written} of ${bytes} bytes written, and no error given`)
}

function dropFront(buffers: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = []
  let skip = count
  for (const buffer of buffers) {
    if (skip >= buffer.length) skip -= buffer.length
    else {
      rest.push(buffer.subarray(skip))
      skip = 0
    }
  }
  return rest
}
