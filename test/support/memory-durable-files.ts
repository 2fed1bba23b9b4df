/** DurableFiles in memory: every operation is durable when it resolves; a test may copy it as a crash would leave it. */
import type { DurableFile, DurableFiles } from '../../src/coordination/durable-files.ts'

export class MemoryDurableFiles implements DurableFiles {
  readonly files: Map<string, Uint8Array>
  appends = 0
  /** The next append fails with this code, after having written half of its bytes. */
  failNextAppend: string | undefined

  constructor(files: ReadonlyMap<string, Uint8Array> = new Map()) {
    this.files = new Map([...files].map(([name, bytes]) => [name, bytes.slice()]))
  }

  async list(): Promise<string[]> {
    return [...this.files.keys()].sort()
  }

  async read(name: string): Promise<Uint8Array> {
    const bytes = this.files.get(name)
    if (bytes === undefined) throw Object.assign(new Error(`no file ${name}`), { code: 'ENOENT' })
    return bytes.slice()
  }

  async open(name: string, bytes: number): Promise<DurableFile> {
    this.files.set(name, (await this.read(name)).slice(0, bytes))
    return {
      append: async (position, added) => {
        this.appends++
        await new Promise((resolve) => setImmediate(resolve))
        const failure = this.failNextAppend
        this.failNextAppend = undefined
        const written = failure === undefined ? added : added.subarray(0, added.length >> 1)
        const before = this.files.get(name)!
        const after = new Uint8Array(Math.max(before.length, position + written.length))
        after.set(before)
        after.set(written, position)
        this.files.set(name, after)
        if (failure !== undefined) throw Object.assign(new Error('append failed'), { code: failure })
      },
      close: async () => {},
    }
  }

  async writeWhole(name: string, bytes: Uint8Array): Promise<void> {
    this.files.set(name, bytes.slice())
  }

  async remove(name: string): Promise<void> {
    this.files.delete(name)
  }
}
