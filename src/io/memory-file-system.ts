/**
 * MemoryFileSystem: a deterministic disk in memory that can say what a power cut would leave of it.
 *
 * Owns        a tree of folders and files, a descriptor table, counters; optionally a trace of what was done
 * Thread      one; "process-wide" descriptors hold for everybody who shares this instance
 * Invariants  S1 synced bytes survive every crash; a name survives when its folder was synced after it was made: syncing a
 *                file does not make its name durable (stricter than ext4, as POSIX allows)
 *             S2 a pending entry (create, rename, remove) is kept or lost as one; operations on the same name keep their order
 *             S3 the same calls with the same prng give the same disk; no clock or chance of its own
 *             S4 clone() and crash() cost O(names + pending), not O(bytes): files and folders are copied before the first write
 * Failure     StorageError with the codes Linux gives. No spontaneous faults: faulty-file-system wraps this for those
 * Not here    the legal states of one file's bytes (memory-file)
 */
import { posix } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Prng } from '../base/prng.ts'
import type { DiskOperation, DiskTrace } from './disk-trace.ts'
import { type Fd, type FileSystem, StorageError } from './file-system.ts'
import { MemoryFile, type Survival } from './memory-file.ts'

type OpenMode = Parameters<FileSystem['open']>[1]
type NodeId = number

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

class MemoryFolder {
  readonly isFolder = true
  entries: Map<string, NodeId>
  /** As of the last syncFolder, plus whole operations that other folders' syncs brought along. */
  durable: Map<string, NodeId>

  constructor(entries = new Map<string, NodeId>(), durable = new Map<string, NodeId>()) {
    this.entries = entries
    this.durable = durable
  }

  clone(): MemoryFolder {
    return new MemoryFolder(new Map(this.entries), new Map(this.durable))
  }
}

/** One pending change of names: all its changes become durable together. */
interface EntryOperation {
  readonly changes: readonly EntryChange[]
}

interface EntryChange {
  readonly folder: NodeId
  readonly name: string
  /** What the name stands for afterwards; undefined: nothing. */
  readonly node: NodeId | undefined
}

interface Descriptor {
  readonly node: NodeId
  readonly path: string
  readonly writable: boolean
}

const ROOT: NodeId = 1
const FIRST_FD: Fd = 100
const CAPACITY_BYTES = 2 ** 40
const SWEEP_NODES_MIN = 1024
const SURVIVALS: readonly Survival[] = ['none', 'all', 'prefix', 'mixed', 'mixed', 'mixed']

export class MemoryFileSystem implements FileSystem {
  readonly counters: DiskCounters = zeroCounters()
  readonly #options: MemoryFileSystemOptions
  #nodes = new Map<NodeId, MemoryFile | MemoryFolder>([[ROOT, new MemoryFolder()]])
  /** Nodes that no clone shares: only these may be changed in place. */
  #owned = new Set<NodeId>([ROOT])
  #dirtyFiles = new Set<NodeId>()
  #pendingEntries: EntryOperation[] = []
  #descriptors = new Map<Fd, Descriptor>()
  #nextNode: NodeId = ROOT + 1
  #nextFd: Fd = FIRST_FD
  #sweepAtNodes = SWEEP_NODES_MIN
  #trace: DiskTrace | undefined

  constructor(options: MemoryFileSystemOptions = {}) {
    this.#options = options
  }

  // -- the port -------------------------------------------------------------------------------------------------------

  open(path: string, mode: OpenMode): Fd {
    const { folder, name, node } = this.#lookUp(path, 'open')
    if (node === undefined && (mode === 'read' || mode === 'write')) throw fault('ENOENT', 'open', path)
    if (node !== undefined && mode === 'create-new') throw fault('EEXIST', 'open', path)
    if (node !== undefined && mode !== 'read' && this.#nodes.get(node)!.isFolder) throw fault('EISDIR', 'open', path)
    const id = node ?? this.#addNode(new MemoryFile(this.#nowMs()))
    if (node === undefined) this.#changeEntries([{ folder, name, node: id }])
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
    let total = 0
    for (const buffer of buffers) total += buffer.length
    const bytes = new Uint8Array(total)
    let at = 0
    for (const buffer of buffers) {
      bytes.set(buffer, at)
      at += buffer.length
    }
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
    const id = this.#folderAt(path, 'sync of folder')
    this.#syncEntries((change) => change.folder === id)
    this.counters.folderSyncs++
    this.#record({ kind: 'syncFolder', path })
  }

  makeFolder(path: string): void {
    let folder: NodeId = ROOT
    const names = namesOf(path)
    for (const [index, name] of names.entries()) {
      const next = this.#folder(folder).entries.get(name)
      if (next === undefined) {
        const made = this.#addNode(new MemoryFolder())
        this.#changeEntries([{ folder, name, node: made }])
        folder = made
      } else {
        if (!this.#nodes.get(next)!.isFolder)
          throw fault(index === names.length - 1 ? 'EEXIST' : 'ENOTDIR', 'make folder', path)
        folder = next
      }
    }
    this.#record({ kind: 'makeFolder', path })
  }

  list(path: string): string[] {
    return [...this.#folder(this.#folderAt(path, 'list')).entries.keys()].sort()
  }

  stat(path: string): ReturnType<FileSystem['stat']> {
    let id: NodeId = ROOT
    for (const name of namesOf(path)) {
      const node = this.#nodes.get(id)!
      const next = node.isFolder ? node.entries.get(name) : undefined
      if (next === undefined) return { kind: 'absent' }
      id = next
    }
    const node = this.#nodes.get(id)!
    return node.isFolder ? { kind: 'folder' } : { kind: 'file', bytes: node.size, modifiedMs: node.modifiedMs }
  }

  rename(from: string, to: string): void {
    const source = this.#lookUp(from, 'rename')
    const target = this.#lookUp(to, 'rename')
    if (source.node === undefined) throw fault('ENOENT', `rename to ${to} of`, from)
    if (source.node !== target.node) {
      this.#checkReplaceable(source.node, target.node, to)
      if (`${posix.resolve('/', to)}/`.startsWith(`${posix.resolve('/', from)}/`))
        throw fault('EINVAL', `rename to ${to} of`, from)
      this.#changeEntries([
        { folder: source.folder, name: source.name, node: undefined },
        { folder: target.folder, name: target.name, node: source.node },
      ])
    }
    this.#record({ kind: 'rename', from, to })
  }

  remove(path: string): void {
    const { folder, name, node } = this.#lookUp(path, 'remove')
    if (node === undefined) throw fault('ENOENT', 'remove', path)
    if (this.#nodes.get(node)!.isFolder) throw fault('EISDIR', 'remove', path)
    this.#changeEntries([{ folder, name, node: undefined }])
    this.#record({ kind: 'remove', path })
  }

  removeFolder(path: string): void {
    const { folder, name, node } = this.#lookUp(path, 'remove folder')
    if (node === undefined) throw fault('ENOENT', 'remove folder', path)
    if (!this.#nodes.get(node)!.isFolder) throw fault('ENOTDIR', 'remove folder', path)
    if (this.#folder(node).entries.size > 0) throw fault('ENOTEMPTY', 'remove folder', path)
    this.#changeEntries([{ folder, name, node: undefined }])
    this.#record({ kind: 'removeFolder', path })
  }

  freeBytes(_path: string): number {
    return (this.#options.capacityBytes ?? CAPACITY_BYTES) - this.usedBytes()
  }

  // -- what only a simulated disk can do --------------------------------------------------------------------------------

  /** Sum of the sizes of all files that have a name or a descriptor. */
  usedBytes(): number {
    let used = 0
    const seen = new Set<NodeId>()
    const visit = (id: NodeId): void => {
      if (seen.has(id)) return
      seen.add(id)
      const node = this.#nodes.get(id)!
      if (node instanceof MemoryFolder) for (const child of node.entries.values()) visit(child)
      else used += node.size
    }
    visit(ROOT)
    for (const descriptor of this.#descriptors.values()) visit(descriptor.node)
    return used
  }

  /** Paths of all files, sorted. */
  filePaths(): string[] {
    const paths: string[] = []
    const visit = (id: NodeId, path: string): void => {
      const node = this.#nodes.get(id)!
      if (node instanceof MemoryFolder) for (const [name, child] of node.entries) visit(child, `${path}/${name}`)
      else paths.push(path)
    }
    visit(ROOT, '')
    return paths.sort()
  }

  /** A file's bytes as the process sees them. */
  contentOf(path: string): Uint8Array {
    const file = this.#fileAt(path)
    const bytes = new Uint8Array(file.size)
    file.read(bytes, 0)
    return bytes
  }

  /** Changes bytes of a file on the device, in the cache and in every later crash: bit rot. */
  damage(path: string, position: number, bytes: Uint8Array): void {
    const { node } = this.#lookUp(path, 'damage')
    if (node === undefined) throw fault('ENOENT', 'damage', path)
    this.#fileAt(path)
    ;(this.#mutable(node) as MemoryFile).damage(bytes, position)
  }

  /** What Linux does when fdatasync fails: the unsynced bytes stay readable, count as clean, and never reach the device. */
  loseUnsynced(fd: Fd): void {
    this.#fileToChange(fd, 'loss').loseUnsynced()
    this.#record({ kind: 'loseUnsynced', fd })
  }

  /** An equal disk with the same descriptors open, independent from now on; it records no trace. */
  clone(): MemoryFileSystem {
    const copy = this.#fork()
    copy.#dirtyFiles = new Set(this.#dirtyFiles)
    copy.#pendingEntries = this.#pendingEntries.slice()
    copy.#descriptors = new Map(this.#descriptors)
    copy.#nextFd = this.#nextFd
    return copy
  }

  /** A legal state of this disk after a crash, all descriptors gone; this one stays as it is. */
  crash(prng: Prng, options: CrashOptions = { kind: 'power' }): MemoryFileSystem {
    if (options.kind === 'kill') {
      const copy = this.clone()
      copy.#descriptors.clear()
      copy.#nextFd = FIRST_FD
      return copy
    }
    const copy = this.#fork()
    for (const id of this.#dirtyFiles) {
      const survival = options.survival ?? SURVIVALS[prng.below(SURVIVALS.length)]!
      copy.#nodes.set(id, (this.#nodes.get(id) as MemoryFile).afterPowerCut(survival, prng))
      copy.#owned.add(id)
    }
    copy.#settleEntries(this.#pendingEntries, options.survival ?? SURVIVALS[prng.below(SURVIVALS.length)]!, prng)
    return copy
  }

  /** Records every changing operation from now on into `trace`; undefined stops. */
  traceInto(trace: DiskTrace | undefined): void {
    this.#trace = trace
  }

  // -- names ------------------------------------------------------------------------------------------------------------

  #lookUp(path: string, action: string): { folder: NodeId; name: string; node: NodeId | undefined } {
    const names = namesOf(path)
    const name = names.pop()
    if (name === undefined) throw fault('EISDIR', action, path)
    let folder: NodeId = ROOT
    for (const step of names) {
      const next = this.#folder(folder).entries.get(step)
      if (next === undefined) throw fault('ENOENT', action, path)
      if (!this.#nodes.get(next)!.isFolder) throw fault('ENOTDIR', action, path)
      folder = next
    }
    return { folder, name, node: this.#folder(folder).entries.get(name) }
  }

  #folderAt(path: string, action: string): NodeId {
    if (namesOf(path).length === 0) return ROOT
    const { node } = this.#lookUp(path, action)
    if (node === undefined) throw fault('ENOENT', action, path)
    if (!this.#nodes.get(node)!.isFolder) throw fault('ENOTDIR', action, path)
    return node
  }

  #checkReplaceable(source: NodeId, target: NodeId | undefined, to: string): void {
    if (target === undefined) return
    const replaced = this.#nodes.get(target)!
    if (replaced.isFolder && !this.#nodes.get(source)!.isFolder) throw fault('EISDIR', 'rename to', to)
    if (!replaced.isFolder && this.#nodes.get(source)!.isFolder) throw fault('ENOTDIR', 'rename to', to)
    if (replaced.isFolder && replaced.entries.size > 0) throw fault('ENOTEMPTY', 'rename to', to)
  }

  #changeEntries(changes: readonly EntryChange[]): void {
    for (const change of changes) setEntry((this.#mutable(change.folder) as MemoryFolder).entries, change)
    this.#pendingEntries.push({ changes })
  }

  /** Makes durable every pending operation with a wanted change, and before it each earlier one on a name it touches. */
  #syncEntries(wanted: (change: EntryChange) => boolean): void {
    const neededNames = new Set<string>()
    const needed: EntryOperation[] = []
    const rest: EntryOperation[] = []
    for (const operation of this.#pendingEntries.toReversed()) {
      const isNeeded = operation.changes.some((change) => wanted(change) || neededNames.has(keyOf(change)))
      ;(isNeeded ? needed : rest).push(operation)
      if (isNeeded) for (const change of operation.changes) neededNames.add(keyOf(change))
    }
    for (const operation of needed.reverse()) this.#makeDurable(operation)
    this.#pendingEntries = rest.reverse()
  }

  #makeDurable(operation: EntryOperation): void {
    for (const change of operation.changes) setEntry((this.#mutable(change.folder) as MemoryFolder).durable, change)
  }

  /** After a power cut: keeps some of `pending` (S2), then what is durable is all there is. */
  #settleEntries(pending: readonly EntryOperation[], survival: Survival, prng: Prng): void {
    const prefix = survival === 'prefix' ? prng.below(pending.length + 1) : 0
    const keepPercent = 5 + prng.below(91)
    const lostNames = new Set<string>()
    const touched = new Set<NodeId>()
    for (const [index, operation] of pending.entries()) {
      for (const change of operation.changes) touched.add(change.folder)
      const drawn =
        survival === 'all' ||
        (survival === 'prefix' && index < prefix) ||
        (survival === 'mixed' && prng.below(100) < keepPercent)
      if (drawn && !operation.changes.some((change) => lostNames.has(keyOf(change)))) this.#makeDurable(operation)
      else for (const change of operation.changes) lostNames.add(keyOf(change))
    }
    for (const id of touched) {
      const folder = this.#mutable(id) as MemoryFolder
      folder.entries = new Map(folder.durable)
    }
  }

  // -- nodes ------------------------------------------------------------------------------------------------------------

  #addNode(node: MemoryFile | MemoryFolder): NodeId {
    if (this.#nodes.size >= this.#sweepAtNodes) this.#sweep()
    const id = this.#nextNode++
    this.#nodes.set(id, node)
    this.#owned.add(id)
    return id
  }

  /** Drops the files and folders that no name, durable name, pending operation or descriptor can bring back. */
  #sweep(): void {
    const live = new Set<NodeId>()
    const visit = (id: NodeId): void => {
      if (live.has(id)) return
      live.add(id)
      const node = this.#nodes.get(id)!
      if (!node.isFolder) return
      for (const child of node.entries.values()) visit(child)
      for (const child of node.durable.values()) visit(child)
    }
    visit(ROOT)
    for (const { changes } of this.#pendingEntries)
      for (const { folder, node } of changes) {
        visit(folder)
        if (node !== undefined) visit(node)
      }
    for (const descriptor of this.#descriptors.values()) visit(descriptor.node)
    for (const id of this.#nodes.keys()) {
      if (live.has(id)) continue
      this.#nodes.delete(id)
      this.#owned.delete(id)
      this.#dirtyFiles.delete(id)
    }
    this.#sweepAtNodes = 2 * live.size + SWEEP_NODES_MIN
  }

  /** The node itself when no clone shares it, else a copy put in its place. */
  #mutable(id: NodeId): MemoryFile | MemoryFolder {
    const node = this.#nodes.get(id)!
    if (this.#owned.has(id)) return node
    const copy = node.clone()
    this.#nodes.set(id, copy)
    this.#owned.add(id)
    return copy
  }

  #folder(id: NodeId): MemoryFolder {
    return this.#nodes.get(id) as MemoryFolder
  }

  #fileAt(path: string): MemoryFile {
    const { node } = this.#lookUp(path, 'read')
    const file = node === undefined ? undefined : this.#nodes.get(node)
    if (file === undefined) throw fault('ENOENT', 'read', path)
    if (file.isFolder) throw fault('EISDIR', 'read', path)
    return file
  }

  #descriptor(fd: Fd, action: string): Descriptor {
    const descriptor = this.#descriptors.get(fd)
    if (descriptor === undefined) throw fault('EBADF', action, `fd ${fd}`)
    return descriptor
  }

  #file(fd: Fd, action: string): MemoryFile {
    const { node, path } = this.#descriptor(fd, action)
    const file = this.#nodes.get(node)!
    if (file.isFolder) throw fault('EISDIR', action, path)
    return file
  }

  #fileToChange(fd: Fd, action: string): MemoryFile {
    const descriptor = this.#descriptor(fd, action)
    if (!descriptor.writable)
      throw fault(action === 'truncate' ? 'EINVAL' : 'EBADF', action, `${descriptor.path} (fd ${fd})`)
    const file = this.#mutable(descriptor.node) as MemoryFile
    file.modifiedMs = this.#nowMs()
    this.#dirtyFiles.add(descriptor.node)
    return file
  }

  #syncFile(fd: Fd, action: string): void {
    const { node } = this.#descriptor(fd, action)
    if (this.#nodes.get(node)!.isFolder) {
      this.#syncEntries((change) => change.folder === node)
      this.counters.folderSyncs++
      return
    }
    this.counters.fileSyncs++
    if (!this.#dirtyFiles.has(node)) return
    const file = this.#mutable(node) as MemoryFile
    file.sync()
    if (!file.isDirty) this.#dirtyFiles.delete(node)
  }

  #fork(): MemoryFileSystem {
    const copy = new MemoryFileSystem(this.#options)
    copy.#nodes = new Map(this.#nodes)
    copy.#owned = new Set()
    copy.#nextNode = this.#nextNode
    this.#owned = new Set()
    return copy
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

function namesOf(path: string): string[] {
  return posix
    .resolve('/', path)
    .split('/')
    .filter((name) => name !== '')
}

function keyOf(change: EntryChange): string {
  return `${change.folder}/${change.name}`
}

function setEntry(entries: Map<string, NodeId>, change: EntryChange): void {
  if (change.node === undefined) entries.delete(change.name)
  else entries.set(change.name, change.node)
}

function fault(code: string, action: string, path: string): StorageError {
  return new StorageError(code, `${action} ${path} failed: ${code}`, { path })
}
