/** DurableFiles over node:fs/promises. Every count is compared: Node reports some write errors only by a short count. */
import { type FileHandle, mkdir, open, readdir, readFile, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { DurableFile, DurableFiles } from './durable-files.ts'

const TEMPORARY = '.tmp'

class NodeDurableFile implements DurableFile {
  readonly #handle: FileHandle

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  async append(position: number, bytes: Uint8Array): Promise<void> {
    await writeAll(this.#handle, bytes, position)
    try {
      await this.#handle.datasync()
    } catch (cause) {
      throw withCode('EIO', 'a sync failed', { cause })
    }
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}

export class NodeDurableFiles implements DurableFiles {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async list(): Promise<string[]> {
    await mkdir(this.#folder, { recursive: true })
    const names = await readdir(this.#folder)
    return names.filter((name) => !name.endsWith(TEMPORARY)).sort()
  }

  async read(name: string): Promise<Uint8Array> {
    return readFile(join(this.#folder, name))
  }

  async open(name: string, bytes: number): Promise<DurableFile> {
    const handle = await open(join(this.#folder, name), 'r+')
    if ((await handle.stat()).size > bytes) await handle.truncate(bytes)
    // Cut or not: a process that was killed may have left bytes and a name that the device does not have yet.
    await handle.sync()
    await this.#syncFolder()
    return new NodeDurableFile(handle)
  }

  async writeWhole(name: string, bytes: Uint8Array): Promise<void> {
    const path = join(this.#folder, name)
    const handle = await open(path + TEMPORARY, 'w')
    try {
      await writeAll(handle, bytes, 0)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(path + TEMPORARY, path)
    await this.#syncFolder()
  }

  async remove(name: string): Promise<void> {
    await unlink(join(this.#folder, name))
    await this.#syncFolder()
  }

  async #syncFolder(): Promise<void> {
    const handle = await open(this.#folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  }
}

/** A short count hides the error that cut the write: the rest is written once more to learn it. */
async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done)
    if (bytesWritten <= 0) throw withCode('EIO', `wrote ${done} of ${bytes.length} bytes`)
    done += bytesWritten
  }
}

function withCode(code: string, text: string, options?: ErrorOptions): Error {
  return Object.assign(new Error(text, options), { code })
}
