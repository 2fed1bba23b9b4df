/** DurableFiles over the FileSystem port: the metadata store on whatever disk the logs are on; each call is done when it returns. */
import type { DurableFile, DurableFiles } from '../coordination/durable-files.ts'
import { type FileSystem, StorageError } from '../io/file-system.ts'
import { writeFully } from '../log/durable-file.ts'

const TEMPORARY = '.tmp'

export interface PortDurableFilesOptions {
  readonly files: FileSystem
  readonly folder: string
  /** Called before and between the steps of a change, for whoever wants them to take time. */
  readonly pause?: () => Promise<void>
}

export class PortDurableFiles implements DurableFiles {
  readonly #files: FileSystem
  readonly #folder: string
  readonly #pause: () => Promise<void>

  constructor(options: PortDurableFilesOptions) {
    this.#files = options.files
    this.#folder = options.folder
    this.#pause = options.pause ?? (async () => {})
  }

  async list(): Promise<string[]> {
    this.#files.makeFolder(this.#folder)
    return this.#files.list(this.#folder).filter((name) => !name.endsWith(TEMPORARY))
  }

  async read(name: string): Promise<Uint8Array> {
    const fd = this.#files.open(`${this.#folder}/${name}`, 'read')
    try {
      const bytes = new Uint8Array(this.#files.sizeOf(fd))
      this.#files.read(fd, bytes, 0)
      return bytes
    } finally {
      this.#files.close(fd)
    }
  }

  async open(name: string, bytes: number): Promise<DurableFile> {
    const files = this.#files
    const fd = files.open(`${this.#folder}/${name}`, 'write')
    if (files.sizeOf(fd) > bytes) files.truncate(fd, bytes)
    files.fsync(fd)
    files.syncFolder(this.#folder)
    return {
      append: async (position, content) => {
        await this.#pause()
        writeFully(files, fd, [content], position)
        await this.#pause()
        try {
          files.fdatasync(fd)
        } catch (cause) {
          throw new StorageError('EIO', 'a sync failed', { cause })
        }
      },
      close: async () => files.close(fd),
    }
  }

  async writeWhole(name: string, bytes: Uint8Array): Promise<void> {
    const path = `${this.#folder}/${name}`
    const fd = this.#files.open(path + TEMPORARY, 'create')
    try {
      this.#files.truncate(fd, 0)
      writeFully(this.#files, fd, [bytes], 0)
      await this.#pause()
      this.#files.fsync(fd)
    } finally {
      this.#files.close(fd)
    }
    await this.#pause()
    this.#files.rename(path + TEMPORARY, path)
    this.#files.syncFolder(this.#folder)
  }

  async remove(name: string): Promise<void> {
    this.#files.remove(`${this.#folder}/${name}`)
    this.#files.syncFolder(this.#folder)
  }
}
