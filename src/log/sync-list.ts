/**
 * SyncList: what a recovery has written and must sync before it is final; gathered, so that many are synced at a time.
 *
 * Why safe    until finishRecovery() journals and checkpoints of older starts stay: a crash before the list is synced is followed by
 *             the same recovery (V3, J5). So nothing depends on the order within the list, only on its end
 * Failure     StorageError: the recovery is not finished, the start fails
 */
import type { Fd, FileSystem } from '../io/file-system.ts'

export class SyncList {
  readonly #files = new Set<string>()
  readonly #folders = new Set<string>()

  addFile(path: string): void {
    this.#files.add(path)
  }

  addFolder(path: string): void {
    this.#folders.add(path)
  }

  /** One after the other. */
  run(files: FileSystem): void {
    for (const fd of this.open(files, Number.POSITIVE_INFINITY)) {
      try {
        files.fdatasync(fd)
      } finally {
        files.close(fd)
      }
    }
  }

  /** Takes up to `max` from the list, files before folders, and opens each when it is asked for: the caller syncs and closes. */
  *open(files: FileSystem, max: number): Generator<Fd> {
    let left = max
    for (const [paths, mode] of [[this.#files, 'write'] as const, [this.#folders, 'read'] as const])
      for (const path of paths) {
        if (left-- <= 0) return
        paths.delete(path)
        yield files.open(path, mode)
      }
  }
}
