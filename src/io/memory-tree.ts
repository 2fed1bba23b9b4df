/**
 * MemoryTree: the names and nodes of a simulated disk: what the process sees, what is durable, and the changes in between.
 *
 * Owns        folders, files, and the pending changes of names since the last sync of their folders
 * Invariants  N1 a pending change (create, rename, remove) is kept or lost as one; changes of one name keep their order, so a
 *                change never survives without an earlier one on a name they share
 *             N2 a folder that no pending change touches is as durable as it looks
 *             N3 nodes are shared with clones until the first change: clone() costs O(nodes) pointers, a power cut
 *                O(nodes + pending)
 *             N4 a node that a name, a durable name, a pending change or a descriptor can bring back is never swept
 * Failure     StorageError with the codes Linux gives
 * Not here    descriptors, traces and the port (memory-file-system); the bytes of one file (memory-file)
 */
import { posix } from 'node:path'
import type { Prng } from '../base/prng.ts'
import { StorageError } from './file-system.ts'
import type { MemoryFile, Survival } from './memory-file.ts'

export type NodeId = number

export const ROOT: NodeId = 1
const SWEEP_NODES_MIN = 1024
const SURVIVALS: readonly Survival[] = ['none', 'all', 'prefix', 'mixed', 'mixed', 'mixed']

export class MemoryFolder {
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

export interface EntryChange {
  readonly folder: NodeId
  readonly name: string
  /** What the name stands for afterwards; undefined: nothing. */
  readonly node: NodeId | undefined
}

/** Where a path leads: the folder that would hold the name, and what the name stands for, if anything. */
interface Place {
  readonly folder: NodeId
  readonly name: string
  readonly node: NodeId | undefined
}

export class MemoryTree {
  #nodes = new Map<NodeId, MemoryFile | MemoryFolder>([[ROOT, new MemoryFolder()]])
  /** Nodes that no clone shares: only these may be changed in place. */
  #owned = new Set<NodeId>([ROOT])
  #dirtyFiles = new Set<NodeId>()
  #pendingEntries: EntryOperation[] = []
  #nextNode: NodeId = ROOT + 1
  #sweepAtNodes = SWEEP_NODES_MIN

  /** An equal tree, independent from now on. */
  clone(): MemoryTree {
    const copy = this.#fork()
    copy.#dirtyFiles = new Set(this.#dirtyFiles)
    copy.#pendingEntries = this.#pendingEntries.slice()
    return copy
  }

  /** The tree as a power cut may leave it; this one stays as it is. */
  afterPowerCut(prng: Prng, survival: Survival | undefined): MemoryTree {
    const copy = this.#fork()
    for (const id of this.#dirtyFiles) {
      const way = survival ?? SURVIVALS[prng.below(SURVIVALS.length)]!
      copy.#nodes.set(id, this.file(id).afterPowerCut(way, prng))
      copy.#owned.add(id)
    }
    copy.#settleEntries(this.#pendingEntries, survival ?? SURVIVALS[prng.below(SURVIVALS.length)]!, prng)
    return copy
  }

  node(id: NodeId): MemoryFile | MemoryFolder {
    return this.#nodes.get(id)!
  }

  file(id: NodeId): MemoryFile {
    return this.#nodes.get(id) as MemoryFile
  }

  /** The file, which the caller is about to change: no clone shares it, and a power cut will look at it. */
  fileToChange(id: NodeId): MemoryFile {
    this.#dirtyFiles.add(id)
    return this.#mutable(id) as MemoryFile
  }

  syncFile(id: NodeId): void {
    if (!this.#dirtyFiles.has(id)) return
    const file = this.#mutable(id) as MemoryFile
    file.sync()
    if (!file.isDirty) this.#dirtyFiles.delete(id)
  }

  /** Every file that has a name, with its path. */
  *namedFiles(folder = ROOT, path = ''): Generator<{ path: string; id: NodeId }, void, void> {
    for (const [name, id] of this.folder(folder).entries)
      if (this.node(id).isFolder) yield* this.namedFiles(id, `${path}/${name}`)
      else yield { path: `${path}/${name}`, id }
  }

  folder(id: NodeId): MemoryFolder {
    return this.#nodes.get(id) as MemoryFolder
  }

  /** Adds a node that no name stands for yet. `held`: nodes that open descriptors keep. */
  add(node: MemoryFile | MemoryFolder, held: () => Iterable<NodeId>): NodeId {
    if (this.#nodes.size >= this.#sweepAtNodes) this.#sweep(held())
    const id = this.#nextNode++
    this.#nodes.set(id, node)
    this.#owned.add(id)
    return id
  }

  lookUp(path: string, action: string): Place {
    const names = namesOf(path)
    const name = names.pop()
    if (name === undefined) return { folder: ROOT, name: '', node: ROOT }
    let folder: NodeId = ROOT
    for (const step of names) {
      const next = this.folder(folder).entries.get(step)
      if (next === undefined) throw fault('ENOENT', action, path)
      if (!this.#nodes.get(next)!.isFolder) throw fault('ENOTDIR', action, path)
      folder = next
    }
    return { folder, name, node: this.folder(folder).entries.get(name) }
  }

  folderAt(path: string, action: string): NodeId {
    const { node } = this.lookUp(path, action)
    if (node === undefined) throw fault('ENOENT', action, path)
    if (!this.#nodes.get(node)!.isFolder) throw fault('ENOTDIR', action, path)
    return node
  }

  checkReplaceable(source: NodeId, target: NodeId | undefined, to: string): void {
    if (target === undefined) return
    const replaced = this.#nodes.get(target)!
    if (replaced.isFolder && !this.#nodes.get(source)!.isFolder) throw fault('EISDIR', 'rename to', to)
    if (!replaced.isFolder && this.#nodes.get(source)!.isFolder) throw fault('ENOTDIR', 'rename to', to)
    if (replaced.isFolder && replaced.entries.size > 0) throw fault('ENOTEMPTY', 'rename to', to)
  }

  changeEntries(changes: readonly EntryChange[]): void {
    for (const change of changes) setEntry((this.#mutable(change.folder) as MemoryFolder).entries, change)
    this.#pendingEntries.push({ changes })
  }

  /** Makes durable every pending operation in the folder, and before it each earlier one on a name it touches. */
  syncEntries(folder: NodeId): void {
    const neededNames = new Set<string>()
    const needed: EntryOperation[] = []
    const rest: EntryOperation[] = []
    for (const operation of this.#pendingEntries.toReversed()) {
      const isNeeded = operation.changes.some((change) => change.folder === folder || neededNames.has(keyOf(change)))
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

  /** Drops the files and folders that no name, durable name, pending operation or descriptor can bring back. */
  #sweep(held: Iterable<NodeId>): void {
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
    for (const id of held) visit(id)
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

  #fork(): MemoryTree {
    const copy = new MemoryTree()
    copy.#nodes = new Map(this.#nodes)
    copy.#owned = new Set()
    copy.#nextNode = this.#nextNode
    this.#owned = new Set()
    return copy
  }
}

export function namesOf(path: string): string[] {
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

export function fault(code: string, action: string, path: string): StorageError {
  return new StorageError(code, `${action} ${path} failed: ${code}`, { path })
}
