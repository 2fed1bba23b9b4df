/**
 * MemoryFileSystem: a deterministic disk in memory that can say what a power cut would leave of it.
 *
 * Owns        a descriptor table and counters over a MemoryTree; optionally a trace of what was done
 * Thread      one; "process-wide" descriptors hold for everybody who shares this instance
 * Invariants  S1 synced bytes survive every crash; a name survives when its folder was synced after it was made: syncing a
 *                file does not make its name durable (stricter than ext4, as POSIX allows)
 *             S2 the same calls with the same prng give the same disk; no clock or chance of its own
 *             S3 clone() and crash() cost O(names + pending), not O(bytes)
 * Failure     StorageError with the codes Linux gives. No spontaneous faults: faulty-file-system wraps this for those
 * Not here    which names a power cut leaves (memory-tree) and which bytes (memory-file)
 */

import { posix } from 'node:path'
import { joinBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { Prng } from '../base/prng.ts'
import type { DiskOperation, DiskTrace } from './disk-trace.ts'
import type { Fd, FileSystem } from './file-system.ts'
import { MemoryFile, type Survival } from './memory-file.ts'
import { fault, MemoryFolder, MemoryTree, type NodeId, namesOf, ROOT } from './memory-tree.ts'

type OpenMode = Parameters<FileSystem['open']>[1]

export interface MemoryFileSystemOptions {
  /** Times of modification come from here; all 0 without. */
  readonly clock?: Pick<Clock, 'nowMs'>
  /** What freeBytes counts down from; nothing is refused (see faulty-file-system). Default 1 TiB. */
  readonly capacityBytes?: number
}

export interface CrashOptions {
  /** `power`: what was not synced is in doubt. `kill`: the process dies, the page cache and every name survive. */
  readonly kind: 'power' | 'kill'
  /** How much of what is in doubt survives; by default the prng draws a way for each file and one for the names. */
  readonly survival?: Survival
}

export interface DiskCounters {
  opens: number
  reads: number
  bytesRead: number
  writes: number
  bytesWritten: number
  fileSyncs: number
  folderSyncs: number
}

interface Descriptor {
  readonly node: NodeId
  readonly path: string
  readonly writable: boolean
}

const FIRST_FD: Fd = 100
const CAPACITY_BYTES = 2 ** 40

export class MemoryFileSystem implements FileSystem {
  readonly counters: DiskCounters = zeroCounters()
  readonly #options: MemoryFileSystemOptions
  #tree = new MemoryTree()
  #descriptors = new Map<Fd, Descriptor>()
  #nextFd: Fd = FIRST_FD
  #trace: DiskTrace | undefined

  constructor(options: MemoryFileSystemOptions = {}) {
    this.#options = options
  }

  // -- the port -------------------------------------------------------------------------------------------------------

  open(path: string, mode: OpenMode): Fd {
    const { folder, name, node } = this.#tree.lookUp(path, 'open')
    if (node === undefined && (mode === 'read' || mode === 'write')) throw fault('ENOENT', 'open', path)
    if (node !== undefined && mode === 'create-new') throw fault('EEXIST', 'open', path)
    if (node !== undefined && mode !== 'read' && this.#tree.node(node).isFolder) throw fault('EISDIR', 'open', path)
    const id = node ?? this.#tree.add(new MemoryFile(this.#nowMs()), () => this.#heldNodes())
    if (node === undefined) this.#tree.changeEntries([{ folder, name, node: id }])
    const fd = this.#nextFd++
    this.#descriptors.set(fd, { node: id, path, writable: mode !== 'read' })
    this.counters.opens++
    this.#record({ kind: 'open', path, mode })
    return fd
  }

  close(fd: Fd): void {
    if (!this.#descriptors.delete(fd)) throw fault('EBADF', 'close', `fd ${fd}`)
    this.#record({ kind: 'close', fd })
  }

  write(fd: Fd, buffers: readonly Uint8Array[], position: number): number {
    const file = this.#fileToChange(fd, 'write')
    const bytes = joinBytes(buffers)
    const total = bytes.length
    if (total > 0) file.write(bytes, position)
    this.counters.writes++
    this.counters.bytesWritten += total
    this.#record({ kind: 'write', fd, position, bytes })
    return total
  }

  read(fd: Fd, target: Uint8Array, position: number): number {
    const count = this.#file(fd, 'read').read(target, position)
    this.counters.reads++
    this.counters.bytesRead += count
    return count
  }

  fdatasync(fd: Fd): void {
    this.#syncFile(fd, 'fdatasync')
    this.#record({ kind: 'fdatasync', fd })
  }

  fsync(fd: Fd): void {
    this.#syncFile(fd, 'fsync')
    this.#record({ kind: 'fsync', fd })
  }

  truncate(fd: Fd, bytes: number): void {
    this.#fileToChange(fd, 'truncate').resize(bytes)
    this.#record({ kind: 'truncate', fd, bytes })
  }

  allocate(fd: Fd, bytes: number): void {
    const file = this.#fileToChange(fd, 'allocate')
    if (file.size < bytes) file.resize(bytes)
    this.#record({ kind: 'allocate', fd, bytes })
  }

  sizeOf(fd: Fd): number {
    return this.#file(fd, 'size').size
  }

  syncFolder(path: string): void {
    const id = this.#tree.folderAt(path, 'sync of folder')
    this.#tree.syncEntries(id)
    this.counters.folderSyncs++
    this.#record({ kind: 'syncFolder', path })
  }

  makeFolder(path: string): void {
    let folder: NodeId = ROOT
    const names = namesOf(path)
    for (const [index, name] of names.entries()) {
      const next = this.#tree.folder(folder).entries.get(name)
      if (next === undefined) {
        const made = this.#tree.add(new MemoryFolder(), () => this.#heldNodes())
        this.#tree.changeEntries([{ folder, name, node: made }])
        folder = made
      } else {
        if (!this.#tree.node(next).isFolder)
          throw fault(index === names.length - 1 ? 'EEXIST' : 'ENOTDIR', 'make folder', path)
        folder = next
      }
    }
    this.#record({ kind: 'makeFolder', path })
  }

  list(path: string): string[] {
    return [...this.#tree.folder(this.#tree.folderAt(path, 'list')).entries.keys()].sort()
  }

  stat(path: string): ReturnType<FileSystem['stat']> {
    let id: NodeId = ROOT
    for (const name of namesOf(path)) {
      const node = this.#tree.node(id)
      const next = node.isFolder ? node.entries.get(name) : undefined
      if (next === undefined) return { kind: 'absent' }
      id = next
    }
    const node = this.#tree.node(id)
    return node.isFolder ? { kind: 'folder' } : { kind: 'file', bytes: node.size, modifiedMs: node.modifiedMs }
  }

  rename(from: string, to: string): void {
    const source = this.#tree.lookUp(from, 'rename')
    const target = this.#tree.lookUp(to, 'rename')
    if (source.node === undefined) throw fault('ENOENT', `rename to ${to} of`, from)
    if (source.node !== target.node) {
      this.#tree.checkReplaceable(source.node, target.node, to)
      if (`${posix.resolve('/', to)}/`.startsWith(`${posix.resolve('/', from)}/`))
        throw fault('EINVAL', `rename to ${to} of`, from)
      this.#tree.changeEntries([
        { folder: source.folder, name: source.name, node: undefined },
        { folder: target.folder, name: target.name, node: source.node },
      ])
    }
    this.#record({ kind: 'rename', from, to })
  }

  remove(path: string): void {
    const { folder, name, node } = this.#tree.lookUp(path, 'remove')
    if (node === undefined) throw fault('ENOENT', 'remove', path)
    if (this.#tree.node(node).isFolder) throw fault('EISDIR', 'remove', path)
    this.#tree.changeEntries([{ folder, name, node: undefined }])
    this.#record({ kind: 'remove', path })
  }

  removeFolder(path: string): void {
    const { folder, name, node } = this.#tree.lookUp(path, 'remove folder')
    if (node === undefined) throw fault('ENOENT', 'remove folder', path)
    if (!this.#tree.node(node).isFolder) throw fault('ENOTDIR', 'remove folder', path)
    if (node === ROOT) throw fault('EBUSY', 'remove folder', path)
    if (this.#tree.folder(node).entries.size > 0) throw fault('ENOTEMPTY', 'remove folder', path)
    this.#tree.changeEntries([{ folder, name, node: undefined }])
    this.#record({ kind: 'removeFolder', path })
  }

  freeBytes(_path: string): number {
    return (this.#options.capacityBytes ?? CAPACITY_BYTES) - this.usedBytes()
  }

  // -- what only a simulated disk can do --------------------------------------------------------------------------------

  /** Sum of the sizes of all files that have a name or a descriptor. */
  usedBytes(): number {
    const files = new Set<NodeId>()
    for (const { id } of this.#tree.namedFiles()) files.add(id)
    for (const id of this.#heldNodes()) if (!this.#tree.node(id).isFolder) files.add(id)
    let used = 0
    for (const id of files) used += this.#tree.file(id).size
    return used
  }

  /** Paths of all files, sorted. */
  filePaths(): string[] {
    return Array.from(this.#tree.namedFiles(), (file) => file.path).sort()
  }

  /** A file's bytes as the process sees them. */
  contentOf(path: string): Uint8Array {
    const file = this.#tree.file(this.#fileAt(path, 'read'))
    const bytes = new Uint8Array(file.size)
    file.read(bytes, 0)
    return bytes
  }

  /** Changes bytes of a file on the device, in the cache and in every later crash: bit rot. */
  damage(path: string, position: number, bytes: Uint8Array): void {
    this.#tree.fileToChange(this.#fileAt(path, 'damage')).damage(bytes, position)
  }

  /**
   * What Linux does when fdatasync fails: the unsynced bytes stay readable, count as clean, and never reach the device.
   * The changes of an open folder stay pending.
   */
  loseUnsynced(fd: Fd): void {
    const { node } = this.#descriptor(fd, 'loss')
    if (!this.#tree.node(node).isFolder) this.#tree.fileToChange(node).loseUnsynced()
    this.#record({ kind: 'loseUnsynced', fd })
  }

  /** An equal disk with the same descriptors open, independent from now on; it records no trace. */
  clone(): MemoryFileSystem {
    const copy = new MemoryFileSystem(this.#options)
    copy.#tree = this.#tree.clone()
    copy.#descriptors = new Map(this.#descriptors)
    copy.#nextFd = this.#nextFd
    return copy
  }

  /** A legal state of this disk after a crash, all descriptors gone; this one stays as it is. */
  crash(prng: Prng, options: CrashOptions = { kind: 'power' }): MemoryFileSystem {
    const copy = new MemoryFileSystem(this.#options)
    copy.#tree = options.kind === 'kill' ? this.#tree.clone() : this.#tree.afterPowerCut(prng, options.survival)
    return copy
  }

  /** Records every changing operation from now on into `trace`; undefined stops. */
  traceInto(trace: DiskTrace | undefined): void {
    this.#trace = trace
  }

  #fileAt(path: string, action: string): NodeId {
    const { node } = this.#tree.lookUp(path, action)
    if (node === undefined) throw fault('ENOENT', action, path)
    if (this.#tree.node(node).isFolder) throw fault('EISDIR', action, path)
    return node
  }

  *#heldNodes(): Generator<NodeId, void, void> {
    for (const descriptor of this.#descriptors.values()) yield descriptor.node
  }

  #descriptor(fd: Fd, action: string): Descriptor {
    const descriptor = this.#descriptors.get(fd)
    if (descriptor === undefined) throw fault('EBADF', action, `fd ${fd}`)
    return descriptor
  }

  #file(fd: Fd, action: string): MemoryFile {
    const { node, path } = this.#descriptor(fd, action)
    const file = this.#tree.node(node)
    if (file.isFolder) throw fault('EISDIR', action, path)
    return file
  }

  #fileToChange(fd: Fd, action: string): MemoryFile {
    const descriptor = this.#descriptor(fd, action)
    if (!descriptor.writable)
      throw fault(action === 'truncate' ? 'EINVAL' : 'EBADF', action, `${descriptor.path} (fd ${fd})`)
    const file = this.#tree.fileToChange(descriptor.node)
    file.modifiedMs = this.#nowMs()
    return file
  }

  #syncFile(fd: Fd, action: string): void {
    const { node } = this.#descriptor(fd, action)
    if (this.#tree.node(node).isFolder) {
      this.#tree.syncEntries(node)
      this.counters.folderSyncs++
      return
    }
    this.counters.fileSyncs++
    this.#tree.syncFile(node)
  }

  #record(operation: DiskOperation): void {
    this.#trace?.add(operation)
  }

  #nowMs(): number {
    return this.#options.clock?.nowMs() ?? 0
  }
}

function zeroCounters(): DiskCounters {
  return { opens: 0, reads: 0, bytesRead: 0, writes: 0, bytesWritten: 0, fileSyncs: 0, folderSyncs: 0 }
}
