/**
 * FaultyFileSystem: wraps any make of the storage port and breaks it on demand: errors, short writes, a full disk, a slow
 * one, and bytes that come back wrong.
 *
 * Owns        the rules, the space budget, which path a descriptor of this instance came from
 * Thread      one
 * Invariants  F1 without rules and limits it behaves as what it wraps        checked in: the contract suite
 *             F2 rules fire by count of matching operations, never by chance: a run replays
 * Failure     StorageError, as the real system would give it. A failed fdatasync or fsync also loses the unsynced bytes for
 *             good where the wrapped make can (memory): later syncs succeed and the bytes never arrive, as on Linux
 * Not here    what a power cut leaves (memory-file-system)
 */
import { type Fd, type FileSystem, StorageError } from './file-system.ts'

export type OperationKind = keyof FileSystem
type OpenMode = Parameters<FileSystem['open']>[1]

export type FaultEffect =
  /** Nothing is done; the operation throws. */
  | { readonly kind: 'fail'; readonly code: 'EIO' | 'ENOSPC' | 'EDQUOT' | 'EMFILE' | 'EACCES' | 'ENOENT' }
  /**
   * For write: only the first `bytes` are written, and that count is answered. `thenFail`: the next write to that descriptor
   * throws; it is what libuv hides when an error follows partial success.
   */
  | { readonly kind: 'short-write'; readonly bytes: number; readonly thenFail?: 'EIO' | 'ENOSPC' }
  /** The operation takes `delayMs`: told to `onDelay`, then done. */
  | { readonly kind: 'delay'; readonly delayMs: number }
  /** For read: bit `bit` of what was read, modulo its length, comes back turned. */
  | { readonly kind: 'flip-bit'; readonly bit: number }
  /** For read: 512 bytes from `at` of what was read come back as zeros. */
  | { readonly kind: 'zero-sector'; readonly at: number }

export interface FaultRule {
  readonly on: OperationKind | readonly OperationKind[]
  /** Only operations on a path that contains this text; a descriptor of another instance has the path `fd <n>`. */
  readonly path?: string
  /** Lets so many matching operations through first; default 0. */
  readonly skip?: number
  /** Fires so often; default 1, Infinity for ever. */
  readonly times?: number
  readonly effect: FaultEffect
}

export interface FaultyFileSystemOptions {
  /** Where a delay goes: a virtual clock, a scheduler, or a wait. */
  readonly onDelay?: (delayMs: number, operation: OperationKind, path: string) => void
}

/** What a wrapped make may be able to do beyond the port; MemoryFileSystem is one. */
interface SimulatedDisk {
  loseUnsynced(fd: Fd): void
  damage(path: string, position: number, bytes: Uint8Array): void
}

interface ActiveRule {
  readonly rule: FaultRule
  readonly operations: readonly OperationKind[]
  seen: number
  fired: number
}

const SECTOR_BYTES = 512

export class FaultyFileSystem implements FileSystem {
  readonly #inner: FileSystem
  readonly #onDelay: NonNullable<FaultyFileSystemOptions['onDelay']>
  readonly #paths = new Map<Fd, string>()
  readonly #failNextWrite = new Map<Fd, string>()
  #rules: ActiveRule[] = []
  #spaceBytes = Number.POSITIVE_INFINITY
  #faultCount = 0

  constructor(inner: FileSystem, options: FaultyFileSystemOptions = {}) {
    this.#inner = inner
    this.#onDelay = options.onDelay ?? (() => {})
  }

  // -- what a test says ---------------------------------------------------------------------------------------------------

  /** Adds a rule; of several that match one operation all fire, in the order they were added, until one throws. */
  inject(rule: FaultRule): void {
    const operations = typeof rule.on === 'string' ? [rule.on] : rule.on
    const wanted = effectTarget(rule.effect)
    if (wanted !== undefined && operations.some((operation) => operation !== wanted))
      throw new RangeError(`a ${rule.effect.kind} fault is for ${wanted}, not for ${operations.join(', ')}`)
    this.#rules.push({ rule, operations, seen: 0, fired: 0 })
  }

  /** Drops all rules and the space limit. What was lost stays lost. */
  heal(): void {
    this.#rules = []
    this.#failNextWrite.clear()
    this.#spaceBytes = Number.POSITIVE_INFINITY
  }

  /**
   * From now on files may grow by `freeBytes` together; shrinking and removing gives back. A write that does not fit is
   * short, one that does not fit at all is ENOSPC. Holes made by truncate are not counted.
   */
  limitSpace(freeBytes: number): void {
    this.#spaceBytes = freeBytes
  }

  /** How many effects were applied so far; a test that expects a fault checks that it happened. */
  get faultCount(): number {
    return this.#faultCount
  }

  /** Turns one bit of a file at rest. */
  flipBitAtRest(path: string, position: number, bit: number): void {
    const byte = this.#bytesAt(path, position, 1)
    byte[0]! ^= 1 << (bit & 7)
    this.#damage(path, position, byte)
  }

  /** Zeroes the 512-byte sector of a file that `position` lies in. */
  zeroSectorAtRest(path: string, position: number): void {
    const from = position - (position % SECTOR_BYTES)
    this.#damage(path, from, this.#bytesAt(path, from, SECTOR_BYTES).fill(0))
  }

  // -- the port -----------------------------------------------------------------------------------------------------------

  open(path: string, mode: OpenMode): Fd {
    this.#before('open', path)
    const fd = this.#inner.open(path, mode)
    this.#paths.set(fd, path)
    return fd
  }

  close(fd: Fd): void {
    this.#before('close', this.#pathOf(fd))
    this.#paths.delete(fd)
    this.#failNextWrite.delete(fd)
    this.#inner.close(fd)
  }

  write(fd: Fd, buffers: readonly Uint8Array[], position: number): number {
    const path = this.#pathOf(fd)
    const pendingCode = this.#failNextWrite.get(fd)
    if (pendingCode !== undefined) {
      this.#failNextWrite.delete(fd)
      throw fault(pendingCode, 'write', path)
    }
    let asked = 0
    for (const buffer of buffers) asked += buffer.length
    let allowed = asked
    for (const effect of this.#before('write', path)) {
      if (effect.kind !== 'short-write') continue
      allowed = Math.min(allowed, effect.bytes)
      if (effect.thenFail !== undefined) this.#failNextWrite.set(fd, effect.thenFail)
    }
    if (Number.isFinite(this.#spaceBytes)) return this.#writeInSpace(fd, buffers, position, allowed)
    return this.#inner.write(fd, allowed < asked ? firstBytes(buffers, allowed) : buffers, position)
  }

  read(fd: Fd, target: Uint8Array, position: number): number {
    const effects = this.#before('read', this.#pathOf(fd))
    const count = this.#inner.read(fd, target, position)
    for (const effect of effects) {
      if (count === 0) break
      if (effect.kind === 'flip-bit') target[Math.floor(effect.bit / 8) % count]! ^= 1 << (effect.bit & 7)
      else if (effect.kind === 'zero-sector')
        target.fill(0, Math.min(effect.at, count), Math.min(effect.at + SECTOR_BYTES, count))
    }
    return count
  }

  fdatasync(fd: Fd): void {
    this.#beforeSync('fdatasync', fd)
    this.#inner.fdatasync(fd)
  }

  fsync(fd: Fd): void {
    this.#beforeSync('fsync', fd)
    this.#inner.fsync(fd)
  }

  truncate(fd: Fd, bytes: number): void {
    this.#before('truncate', this.#pathOf(fd))
    const freed = Number.isFinite(this.#spaceBytes) ? Math.max(0, this.#inner.sizeOf(fd) - bytes) : 0
    this.#inner.truncate(fd, bytes)
    this.#spaceBytes += freed
  }

  allocate(fd: Fd, bytes: number): void {
    this.#before('allocate', this.#pathOf(fd))
    if (!Number.isFinite(this.#spaceBytes)) {
      this.#inner.allocate(fd, bytes)
      return
    }
    const size = this.#inner.sizeOf(fd)
    const growth = Math.min(Math.max(0, bytes - size), this.#spaceBytes)
    this.#inner.allocate(fd, size + growth)
    this.#spaceBytes -= growth
    if (size + growth < bytes) throw fault('ENOSPC', 'allocate', this.#pathOf(fd))
  }

  sizeOf(fd: Fd): number {
    this.#before('sizeOf', this.#pathOf(fd))
    return this.#inner.sizeOf(fd)
  }

  syncFolder(path: string): void {
    this.#before('syncFolder', path)
    this.#inner.syncFolder(path)
  }

  makeFolder(path: string): void {
    this.#before('makeFolder', path)
    this.#inner.makeFolder(path)
  }

  list(path: string): string[] {
    this.#before('list', path)
    return this.#inner.list(path)
  }

  stat(path: string): ReturnType<FileSystem['stat']> {
    this.#before('stat', path)
    return this.#inner.stat(path)
  }

  rename(from: string, to: string): void {
    this.#before('rename', from)
    const freed = from === to ? 0 : this.#bytesOf(to)
    this.#inner.rename(from, to)
    this.#spaceBytes += freed
  }

  remove(path: string): void {
    this.#before('remove', path)
    const freed = this.#bytesOf(path)
    this.#inner.remove(path)
    this.#spaceBytes += freed
  }

  removeFolder(path: string): void {
    this.#before('removeFolder', path)
    this.#inner.removeFolder(path)
  }

  freeBytes(path: string): number {
    this.#before('freeBytes', path)
    return Math.min(this.#inner.freeBytes(path), this.#spaceBytes)
  }

  // -- rules --------------------------------------------------------------------------------------------------------------

  /** Counts the operation against the rules; delays and throws as they say, answers the effects left to the caller. */
  #before(operation: OperationKind, path: string): readonly FaultEffect[] {
    if (this.#rules.length === 0) return NO_EFFECTS
    const effects: FaultEffect[] = []
    for (const active of this.#rules) {
      const { rule } = active
      if (!active.operations.includes(operation)) continue
      if (rule.path !== undefined && !path.includes(rule.path)) continue
      active.seen++
      if (active.seen <= (rule.skip ?? 0) || active.fired >= (rule.times ?? 1)) continue
      active.fired++
      this.#faultCount++
      if (rule.effect.kind === 'fail') throw fault(rule.effect.code, operation, path)
      if (rule.effect.kind === 'delay') this.#onDelay(rule.effect.delayMs, operation, path)
      else effects.push(rule.effect)
    }
    return effects
  }

  #beforeSync(operation: 'fdatasync' | 'fsync', fd: Fd): void {
    try {
      this.#before(operation, this.#pathOf(fd))
    } catch (error) {
      if (canSimulate(this.#inner)) this.#inner.loseUnsynced(fd)
      throw error
    }
  }

  #writeInSpace(fd: Fd, buffers: readonly Uint8Array[], position: number, allowed: number): number {
    const size = this.#inner.sizeOf(fd)
    const fits = Math.max(0, Math.min(allowed, size + this.#spaceBytes - position))
    if (fits === 0 && allowed > 0) throw fault('ENOSPC', 'write', this.#pathOf(fd))
    const written = this.#inner.write(fd, firstBytes(buffers, fits), position)
    this.#spaceBytes -= Math.max(0, position + written - size)
    return written
  }

  #bytesOf(path: string): number {
    if (!Number.isFinite(this.#spaceBytes)) return 0
    const found = this.#inner.stat(path)
    return found.kind === 'file' ? found.bytes : 0
  }

  #pathOf(fd: Fd): string {
    return this.#paths.get(fd) ?? `fd ${fd}`
  }

  // -- damage at rest -----------------------------------------------------------------------------------------------------

  #bytesAt(path: string, position: number, count: number): Uint8Array {
    const fd = this.#inner.open(path, 'read')
    try {
      const bytes = new Uint8Array(count)
      const found = this.#inner.read(fd, bytes, position)
      if (found === 0) throw new RangeError(`${path} has no byte ${position} to damage`)
      return bytes.subarray(0, found)
    } finally {
      this.#inner.close(fd)
    }
  }

  #damage(path: string, position: number, bytes: Uint8Array): void {
    if (canSimulate(this.#inner)) {
      this.#inner.damage(path, position, bytes)
      return
    }
    const fd = this.#inner.open(path, 'write')
    try {
      this.#inner.write(fd, [bytes], position)
    } finally {
      this.#inner.close(fd)
    }
  }
}

const NO_EFFECTS: readonly FaultEffect[] = []

function effectTarget(effect: FaultEffect): OperationKind | undefined {
  if (effect.kind === 'short-write') return 'write'
  return effect.kind === 'flip-bit' || effect.kind === 'zero-sector' ? 'read' : undefined
}

function canSimulate(files: FileSystem): files is FileSystem & SimulatedDisk {
  return 'loseUnsynced' in files && 'damage' in files
}

/** The first `count` bytes of a list of buffers, without copying. */
function firstBytes(buffers: readonly Uint8Array[], count: number): Uint8Array[] {
  const kept: Uint8Array[] = []
  let left = count
  for (const buffer of buffers) {
    if (left === 0) break
    kept.push(buffer.subarray(0, left))
    left -= Math.min(left, buffer.length)
  }
  return kept
}

function fault(code: string, operation: OperationKind, path: string): StorageError {
  return new StorageError(code, `${operation} ${path} failed: ${code} (injected)`, { path })
}
