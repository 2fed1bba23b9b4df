/**
 * SimulatedMachine: the disk and the life of one computer: it loses what was not synced when its power goes, and it can be
 * told to die in the middle of any disk operation.
 *
 * Owns       the disk of now, its faults, the boot id, the pid of the process that runs
 * Failure    SimulatedCrash ends whatever was under way; the machine has died before it is thrown
 */
import type { DurableFile, DurableFiles } from '../../../src/coordination/durable-files.ts'
import { FaultyFileSystem, type OperationKind } from '../../../src/io/faulty-file-system.ts'
import { type FileSystem, StorageError } from '../../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import type { ProcessProbe } from '../../../src/log/data-dir.ts'
import type { VirtualTime } from './virtual-time.ts'

export type DeathKind = 'power' | 'kill'

/** Thrown through the code that was running when its machine died. */
export class SimulatedCrash extends Error {
  override readonly name = 'SimulatedCrash'
}

const CHANGING: readonly OperationKind[] = [
  ...(['write', 'fdatasync', 'fsync', 'truncate', 'allocate', 'syncFolder'] as const),
  ...(['makeFolder', 'rename', 'remove', 'removeFolder', 'open'] as const),
]

export class SimulatedMachine {
  readonly #time: VirtualTime
  readonly #diskOptions: { readonly clock: VirtualTime }
  #memory: MemoryFileSystem
  #files: FaultyFileSystem
  #boot = 1
  #pid = 1
  /** Called when the machine has died by itself, inside a disk operation. */
  onDeath: (kind: DeathKind) => void = () => {}
  #armed: DeathKind | undefined

  constructor(time: VirtualTime) {
    this.#time = time
    this.#diskOptions = { clock: time }
    this.#memory = new MemoryFileSystem(this.#diskOptions)
    this.#files = this.#wrap()
  }

  /** The disk as its processes see it, with faults. */
  get files(): FaultyFileSystem {
    return this.#files
  }

  /** The disk itself. */
  get disk(): MemoryFileSystem {
    return this.#memory
  }

  get probe(): ProcessProbe {
    const pid = this.#pid
    return {
      pid,
      bootId: `boot-${this.#boot}`,
      startOf: (asked) => (asked === this.#pid ? `started-${asked}` : undefined),
    }
  }

  /** The process ends (`kill`), or the power goes; the disk is what is left of it, without faults. */
  die(kind: DeathKind): void {
    this.#armed = undefined
    this.#memory = this.#memory.crash(this.#time.prng, { kind })
    this.#files = this.#wrap()
    this.#pid++
    if (kind === 'power') this.#boot++
    this.#time.trace(`died:${kind}`)
  }

  /** Dies at the changing disk operation number `skip` from now, before it is done. */
  dieAtOperation(skip: number, kind: DeathKind): void {
    this.#armed = kind
    this.#files.inject({ on: CHANGING, skip, effect: { kind: 'delay', delayMs: 0 } })
  }

  #wrap(): FaultyFileSystem {
    const memory = this.#memory
    return new FaultyFileSystem(memory, {
      onDelay: () => {
        const kind = this.#armed
        if (kind === undefined || this.#memory !== memory) return
        this.die(kind)
        this.onDeath(kind)
        throw new SimulatedCrash(`${kind} in the middle of a disk operation`)
      },
    })
  }
}

/** The embedded metadata store's files on the simulated disk; each call takes a moment. */
export class SimulatedDurableFiles implements DurableFiles {
  readonly #files: FileSystem
  readonly #folder: string
  readonly #pause: () => Promise<void>

  constructor(files: FileSystem, folder: string, pause: () => Promise<void>) {
    this.#files = files
    this.#folder = folder
    this.#pause = pause
  }

  async list(): Promise<string[]> {
    this.#files.makeFolder(this.#folder)
    return this.#files.list(this.#folder).filter((name) => !name.endsWith('.tmp'))
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
        writeAll(files, fd, content, position)
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
    const fd = this.#files.open(`${path}.tmp`, 'create')
    try {
      this.#files.truncate(fd, 0)
      writeAll(this.#files, fd, bytes, 0)
      await this.#pause()
      this.#files.fsync(fd)
    } finally {
      this.#files.close(fd)
    }
    await this.#pause()
    this.#files.rename(`${path}.tmp`, path)
    this.#files.syncFolder(this.#folder)
  }

  async remove(name: string): Promise<void> {
    this.#files.remove(`${this.#folder}/${name}`)
    this.#files.syncFolder(this.#folder)
  }
}

function writeAll(files: FileSystem, fd: number, bytes: Uint8Array, position: number): void {
  let done = 0
  while (done < bytes.length) {
    const written = files.write(fd, [bytes.subarray(done)], position + done)
    if (written <= 0) throw new StorageError('EIO', `wrote ${done} of ${bytes.length} bytes`)
    done += written
  }
}
