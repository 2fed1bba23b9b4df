/**
 * MemoryFile: one simulated file: what the device surely has, what the process sees, and the operations in between.
 *
 * Owns        two images and the list of pending operations since the last sync
 * Invariants  M1 `cached` = every operation ever made; `synced` = those made durable          checked in: the contract suite
 *             M2 a crash leaves each 512-byte sector as it was after some prefix of the pending operations on it: a newer
 *                write never survives without the older one beneath it, as in a page cache
 *             M3 size and shrinking are one metadata transaction (ext4, data=ordered): when the shrink is lost no write into
 *                the range it freed survives, when it survives nothing older than it shows there; growth without data
 *                reads as zeros
 * Limits      PENDING_BYTES_MAX of unsynced data, then the oldest operation is written back, as a kernel would
 * Failure     loseUnsynced() is what Linux does after a failed fdatasync: the page stays readable and counts as clean, so a
 *             later fdatasync succeeds and the bytes never reach the device
 */
import type { Prng } from '../base/prng.ts'
import { PageImage } from './page-image.ts'

/** What a device writes whole or not at all. */
export const SECTOR_BYTES = 512
const PENDING_BYTES_MAX = 64 * 1024 * 1024

type PendingOperation =
  | { readonly kind: 'write'; readonly position: number; readonly bytes: Uint8Array; readonly lost: boolean }
  | { readonly kind: 'resize'; readonly bytes: number }

/** How much of the pending operations reaches the device. */
export type Survival =
  /** None: only what was synced. */
  | 'none'
  /** All, though never synced. */
  | 'all'
  /** The first so many, in order, whole. */
  | 'prefix'
  /** Each sector stops at a prefix of its own, and the size at another: torn writes, holes, sizes without data. */
  | 'mixed'

export class MemoryFile {
  readonly isFolder = false
  modifiedMs: number
  #synced: PageImage
  #cached: PageImage
  #pending: PendingOperation[] = []
  #pendingBytes = 0
  /** Some write was lost after a failed sync: `cached` shows bytes that syncing does not make durable. */
  #diverged = false

  constructor(modifiedMs: number, image = new PageImage()) {
    this.modifiedMs = modifiedMs
    this.#cached = image
    this.#synced = image.clone()
  }

  get size(): number {
    return this.#cached.size
  }

  get isDirty(): boolean {
    return this.#pending.length > 0 || this.#diverged
  }

  /** Takes ownership of `bytes`. */
  write(bytes: Uint8Array, position: number): void {
    this.#cached.write(bytes, position)
    this.#pending.push({ kind: 'write', position, bytes, lost: false })
    this.#pendingBytes += bytes.length
    while (this.#pendingBytes > PENDING_BYTES_MAX) this.#writeBackOldest()
  }

  resize(bytes: number): void {
    if (bytes === this.#cached.size) return
    this.#cached.truncate(bytes)
    this.#pending.push({ kind: 'resize', bytes })
  }

  read(target: Uint8Array, position: number): number {
    return this.#cached.read(target, position)
  }

  sync(): void {
    if (this.#diverged) for (const operation of this.#pending) apply(this.#synced, operation)
    else this.#synced = this.#cached.clone()
    this.#pending = []
    this.#pendingBytes = 0
  }

  loseUnsynced(): void {
    this.#diverged = true
    this.#pending = this.#pending.map((operation) =>
      operation.kind === 'write' ? { ...operation, lost: true } : operation,
    )
  }

  /** Changes bytes on the device and in the cache without a trace: what bit rot does. */
  damage(bytes: Uint8Array, position: number): void {
    for (const image of [this.#synced, this.#cached]) {
      const count = Math.min(bytes.length, image.size - position)
      if (count > 0) image.write(bytes.subarray(0, count), position)
    }
  }

  clone(): MemoryFile {
    const copy = new MemoryFile(this.modifiedMs)
    copy.#synced = this.#synced.clone()
    copy.#cached = this.#cached.clone()
    copy.#pending = this.#pending.slice()
    copy.#pendingBytes = this.#pendingBytes
    copy.#diverged = this.#diverged
    return copy
  }

  /** The file as a power cut may leave it; this one stays as it is. */
  afterPowerCut(survival: Survival, prng: Prng): MemoryFile {
    const image = this.#synced.clone()
    const operations = this.#pending
    if (survival === 'mixed') mixPending(image, operations, prng)
    else {
      const kept = survival === 'none' ? 0 : survival === 'all' ? operations.length : prng.below(operations.length + 1)
      for (let index = 0; index < kept; index++) apply(image, operations[index]!)
    }
    return new MemoryFile(this.modifiedMs, image)
  }

  #writeBackOldest(): void {
    const oldest = this.#pending.shift()!
    apply(this.#synced, oldest)
    if (oldest.kind === 'write') this.#pendingBytes -= oldest.bytes.length
  }
}

function apply(image: PageImage, operation: PendingOperation): void {
  if (operation.kind === 'resize') image.truncate(operation.bytes)
  else if (!operation.lost) image.write(operation.bytes, operation.position)
  else if (operation.position + operation.bytes.length > image.size)
    image.truncate(operation.position + operation.bytes.length)
}

/** Size after each prefix of the operations; element 0 is the synced size. */
function sizesAlong(syncedSize: number, operations: readonly PendingOperation[]): number[] {
  const sizes = [syncedSize]
  let size = syncedSize
  for (const operation of operations) {
    if (operation.kind === 'resize') size = operation.bytes
    else if (operation.bytes.length > 0) size = Math.max(size, operation.position + operation.bytes.length)
    sizes.push(size)
  }
  return sizes
}

/** Applies a legal mixture of `operations` (M2, M3) to `image`. */
function mixPending(image: PageImage, operations: readonly PendingOperation[], prng: Prng): void {
  const sizes = sizesAlong(image.size, operations)
  const metadataKept = prng.below(sizes.length)
  const keepPercent = 5 + prng.below(91)
  const stopped = new Set<number>()
  let stoppedFrom = Number.POSITIVE_INFINITY
  const takes = (sector: number): boolean => {
    if (sector >= stoppedFrom || stopped.has(sector)) return false
    if (prng.below(100) < keepPercent) return true
    stopped.add(sector)
    return false
  }
  for (let index = 0; index < operations.length; index++) {
    const operation = operations[index]!
    if (operation.kind === 'write') {
      if (!operation.lost) keepSectors(image, operation.position, operation.bytes, takes)
      continue
    }
    if (operation.bytes >= sizes[index]!) continue
    const boundary = Math.floor(operation.bytes / SECTOR_BYTES)
    const freedFrom = Math.ceil(operation.bytes / SECTOR_BYTES)
    if (index < metadataKept) {
      // The shrink is durable: whatever was there before it is gone, for sectors that had stopped earlier as well.
      image.truncate(Math.min(operation.bytes, image.size))
      for (const sector of stopped) if (sector >= boundary) stopped.delete(sector)
    } else {
      stoppedFrom = Math.min(stoppedFrom, freedFrom)
      if (boundary < freedFrom && takes(boundary)) image.zero(operation.bytes, freedFrom * SECTOR_BYTES)
    }
  }
  image.truncate(sizes[metadataKept]!)
}

/** Writes those sectors of [position, position + bytes.length) that `takes` lets through. */
function keepSectors(image: PageImage, position: number, bytes: Uint8Array, takes: (sector: number) => boolean): void {
  let from = 0
  while (from < bytes.length) {
    const at = position + from
    const count = Math.min(SECTOR_BYTES - (at % SECTOR_BYTES), bytes.length - from)
    if (takes(Math.floor(at / SECTOR_BYTES))) image.write(bytes.subarray(from, from + count), at)
    from += count
  }
}
