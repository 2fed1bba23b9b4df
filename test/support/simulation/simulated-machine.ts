/**
 * SimulatedMachine: the disk and the life of one computer: it loses what was not synced when its power goes, and it can be
 * told to die in the middle of any disk operation.
 *
 * Owns       the disk of now, its faults, the boot id, the pid of the process that runs
 * Failure    SimulatedCrash ends whatever was under way; the machine has died before it is thrown
 */
import { FaultyFileSystem, type OperationKind } from '../../../src/io/faulty-file-system.ts'
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

  /** Another one is in its place; only while no process runs. */
  replaceDisk(disk: MemoryFileSystem): void {
    this.#memory = disk
    this.#files = this.#wrap()
  }

  loseDisk(): void {
    this.replaceDisk(new MemoryFileSystem(this.#diskOptions))
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
