/**
 * DiskTrace: what a workload did to a simulated disk, so that a test can stop the power after each step of it.
 *
 * Owns        the disk as it was when recording began, and the changing operations since, in order, with their bytes
 * Invariants  T1 replaying onto the base gives the recorded disk step by step: descriptors are numbered alike
 * Usage       const trace = recordTrace(disk); workload(disk, () => trace.mark(acknowledgedOffset)); trace.stop()
 *             for (const step of trace.replay()) recoverFrom(step.disk.crash(prng))
 */
import type { Fd, FileSystem } from './file-system.ts'
import type { MemoryFileSystem } from './memory-file-system.ts'

export type DiskOperation =
  | { readonly kind: 'open'; readonly path: string; readonly mode: Parameters<FileSystem['open']>[1] }
  | { readonly kind: 'close'; readonly fd: Fd }
  | { readonly kind: 'write'; readonly fd: Fd; readonly position: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate' | 'allocate'; readonly fd: Fd; readonly bytes: number }
  | { readonly kind: 'fdatasync' | 'fsync' | 'loseUnsynced'; readonly fd: Fd }
  | { readonly kind: 'syncFolder' | 'makeFolder' | 'remove' | 'removeFolder'; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }
  /** The workload's own note, such as what it has acknowledged by now. */
  | { readonly kind: 'mark'; readonly value: unknown }

export interface DiskStep {
  /** 0 is the first operation. */
  readonly index: number
  readonly operation: DiskOperation
  /** The disk just after it; crash() it or clone() it, do not change it: the next step builds on it. */
  readonly disk: MemoryFileSystem
  /** The latest mark so far, in this step included. */
  readonly mark: unknown
}

export class DiskTrace {
  readonly operations: DiskOperation[] = []
  readonly #base: MemoryFileSystem
  readonly #source: MemoryFileSystem

  constructor(source: MemoryFileSystem) {
    this.#source = source
    this.#base = source.clone()
  }

  add(operation: DiskOperation): void {
    this.operations.push(operation)
  }

  mark(value: unknown): void {
    this.operations.push({ kind: 'mark', value })
  }

  stop(): void {
    this.#source.traceInto(undefined)
  }

  *replay(): Generator<DiskStep, void, void> {
    const disk = this.#base.clone()
    let mark: unknown
    for (const [index, operation] of this.operations.entries()) {
      if (operation.kind === 'mark') mark = operation.value
      else perform(disk, operation)
      yield { index, operation, disk, mark }
    }
  }
}

/** Records every changing operation on `disk` from now on, until stop(). */
export function recordTrace(disk: MemoryFileSystem): DiskTrace {
  const trace = new DiskTrace(disk)
  disk.traceInto(trace)
  return trace
}

function perform(disk: MemoryFileSystem, operation: Exclude<DiskOperation, { kind: 'mark' }>): void {
  switch (operation.kind) {
    case 'open':
      disk.open(operation.path, operation.mode)
      return
    case 'close':
      disk.close(operation.fd)
      return
    case 'write':
      disk.write(operation.fd, [operation.bytes], operation.position)
      return
    case 'truncate':
    case 'allocate':
      disk[operation.kind](operation.fd, operation.bytes)
      return
    case 'fdatasync':
    case 'fsync':
    case 'loseUnsynced':
      disk[operation.kind](operation.fd)
      return
    case 'rename':
      disk.rename(operation.from, operation.to)
      return
    default:
      disk[operation.kind](operation.path)
  }
}
