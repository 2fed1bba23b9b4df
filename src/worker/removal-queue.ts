/**
 * RemovalQueue: files and folders that were renamed aside and now go for good, one file a turn: unlinking a gigabyte takes time.
 *
 * Thread    the shard
 * Failure   what cannot be removed is told and left; its name says that nobody needs it, the next start removes it
 */

import { Fifo } from '../base/fifo.ts'
import { type FileSystem, StorageError } from '../io/file-system.ts'

export class RemovalQueue {
  readonly #files: FileSystem
  readonly #onFailed: (text: string) => void
  readonly #paths = new Fifo<string>()
  #folder: { readonly path: string; readonly names: string[] } | undefined

  constructor(files: FileSystem, onFailed: (text: string) => void) {
    this.#files = files
    this.#onFailed = onFailed
  }

  get size(): number {
    return this.#paths.size + (this.#folder === undefined ? 0 : 1)
  }

  /** A file, or a folder with files in it. */
  add(path: string): void {
    this.#paths.push(path)
  }

  /** Removes one thing; true while there was one. */
  step(): boolean {
    try {
      if (this.#folder !== undefined) this.#stepFolder(this.#folder)
      else {
        const path = this.#paths.shift()
        if (path === undefined) return false
        const stat = this.#files.stat(path)
        if (stat.kind === 'folder') this.#folder = { path, names: this.#files.list(path) }
        else if (stat.kind === 'file') this.#files.remove(path)
      }
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      this.#folder = undefined
      this.#onFailed(`could not remove what was deleted: ${error.code}: ${error.message}`)
    }
    return true
  }

  #stepFolder(folder: { readonly path: string; readonly names: string[] }): void {
    const name = folder.names.pop()
    if (name !== undefined) {
      this.#files.remove(`${folder.path}/${name}`)
      return
    }
    this.#folder = undefined
    this.#files.removeFolder(folder.path)
  }
}
