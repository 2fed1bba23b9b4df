/**
 * LeaderEpochCache: where each leader epoch began in one partition, and where it ended (KIP-101, KIP-279).
 *
 * Owns        a flat list [epoch, start offset, …], as long as there were leaders; nothing for a partition without records
 * Invariants  both columns ascend                                      checked in: add()
 * Ordering    entries reach the file `leader-epochs` before the sync that makes the first batch of the epoch durable; one append
 *             of LEADER_EPOCH_ENTRY_BYTES each, with its own checksum, so a torn last entry is simply not there yet
 * Limits      one entry a leader change; entries below the log start go from memory, the file keeps them (16 bytes each)
 * Format      format.md "Leader epochs"
 */
import { assert } from '../base/assert.ts'
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import type { CheckedAnswer } from './checked-file.ts'
import type { LeaderEpochEntry } from './recovered-partition.ts'

export const LEADER_EPOCHS_FILE = 'leader-epochs'

// Header: |  0 | 4 | magic | 'MRLE'   |  4 | 4 | version | u32
// Entry:
// |  0 | 4 | epoch       | i32
// |  4 | 8 | startOffset | i64
// | 12 | 4 | crc         | u32; CRC-32C of [0, 12)
export const LEADER_EPOCHS_MAGIC = 'MRLE'
export const LEADER_EPOCHS_VERSION = 1
export const LEADER_EPOCHS_VERSION_AT = 4
export const LEADER_EPOCHS_HEADER_BYTES = LEADER_EPOCHS_VERSION_AT + 4
export const LEADER_EPOCH_EPOCH_AT = 0
export const LEADER_EPOCH_START_AT = LEADER_EPOCH_EPOCH_AT + 4
export const LEADER_EPOCH_CRC_AT = LEADER_EPOCH_START_AT + 8
export const LEADER_EPOCH_ENTRY_BYTES = LEADER_EPOCH_CRC_AT + 4
assert(LEADER_EPOCH_ENTRY_BYTES === 16, 'leader epoch entry layout changed: bump LEADER_EPOCHS_VERSION')

export interface EpochEnd {
  readonly epoch: number
  readonly endOffset: number
}

export class LeaderEpochCache {
  #entries: number[]
  /** Entries at the list's end that were added since settle(). */
  #stagedCount = 0

  constructor(entries: readonly LeaderEpochEntry[] = []) {
    this.#entries = []
    for (const [epoch, startOffset] of entries) this.add(epoch, startOffset)
    this.#stagedCount = 0
  }

  get count(): number {
    return this.#entries.length / 2
  }

  /** -1 = no record yet. */
  get latestEpoch(): number {
    return this.#entries.length === 0 ? -1 : this.#entries[this.#entries.length - 2]!
  }

  /** Where the latest epoch began; -1 = no record yet. */
  get latestStartOffset(): number {
    return this.#entries.length === 0 ? -1 : this.#entries[this.#entries.length - 1]!
  }

  /** Tells of a batch: adds an entry if its epoch is newer than the latest. */
  add(epoch: number, startOffset: number): void {
    const latest = this.latestEpoch
    if (epoch === latest) return
    assert(epoch > latest, `leader epoch ${epoch} at offset ${startOffset} is below the latest one, ${latest}`)
    const length = this.#entries.length
    assert(
      length === 0 || startOffset >= this.#entries[length - 1]!,
      `leader epoch ${epoch} begins at ${startOffset}, before the one before it`,
    )
    this.#entries.push(epoch, startOffset)
    this.#stagedCount++
  }

  /** Entries added since the last settle() that are not in the file yet. */
  get stagedCount(): number {
    return this.#stagedCount
  }

  settle(): void {
    this.#stagedCount = 0
  }

  /** Takes back what was added since settle(). */
  rollback(): void {
    this.#entries.length -= this.#stagedCount * 2
    this.#stagedCount = 0
  }

  /**
   * Where `epoch` ended, as KIP-279 has it: the latest epoch ends at the log end; an epoch newer than all known is undefined; one
   * below all known answers with the start of the first known; else the largest epoch <= it ends where the next began.
   */
  endOffsetFor(epoch: number, logEndOffset: number): EpochEnd {
    const entries = this.#entries
    if (epoch < 0 || epoch > this.latestEpoch) return { epoch: -1, endOffset: -1 }
    if (epoch === this.latestEpoch) return { epoch, endOffset: logEndOffset }
    if (epoch < entries[0]!) return { epoch, endOffset: entries[1]! }
    let index = 0
    while (entries[index + 2]! <= epoch) index += 2
    return { epoch: entries[index]!, endOffset: entries[index + 3]! }
  }

  /** Epoch of the record at `offset`; -1 = before all that is known. */
  epochAt(offset: number): number {
    for (let index = this.#entries.length - 2; index >= 0; index -= 2) {
      if (this.#entries[index + 1]! <= offset) return this.#entries[index]!
    }
    return -1
  }

  /** The suffix from `endOffset` on is gone. Returns how many entries went. */
  truncateTo(endOffset: number): number {
    const before = this.#entries.length
    while (this.#entries.length > 0 && this.#entries[this.#entries.length - 1]! >= endOffset) this.#entries.length -= 2
    return (before - this.#entries.length) / 2
  }

  /** The prefix below `startOffset` is gone: epochs that ended in it go, the one that holds it now begins at it. */
  advanceStart(startOffset: number): void {
    const entries = this.#entries
    let dropped = 0
    while (dropped + 2 < entries.length && entries[dropped + 3]! <= startOffset) dropped += 2
    if (dropped > 0) entries.splice(0, dropped)
    if (entries.length > 0 && entries[1]! < startOffset) entries[1] = startOffset
  }

  toEntries(): LeaderEpochEntry[] {
    const list: LeaderEpochEntry[] = []
    for (let index = 0; index < this.#entries.length; index += 2) {
      list.push([this.#entries[index]!, this.#entries[index + 1]!])
    }
    return list
  }
}

/** Bytes of a whole `leader-epochs` file. */
export function encodeLeaderEpochs(entries: readonly LeaderEpochEntry[]): Uint8Array {
  const bytes = new Uint8Array(LEADER_EPOCHS_HEADER_BYTES + entries.length * LEADER_EPOCH_ENTRY_BYTES)
  for (let index = 0; index < 4; index++) bytes[index] = LEADER_EPOCHS_MAGIC.charCodeAt(index)
  const view = new DataView(bytes.buffer)
  view.setUint32(LEADER_EPOCHS_VERSION_AT, LEADER_EPOCHS_VERSION)
  let at = LEADER_EPOCHS_HEADER_BYTES
  for (const [epoch, startOffset] of entries) {
    view.setInt32(at + LEADER_EPOCH_EPOCH_AT, epoch)
    writeSafeInt64(view, at + LEADER_EPOCH_START_AT, startOffset)
    view.setUint32(at + LEADER_EPOCH_CRC_AT, crc32c(bytes.subarray(at, at + LEADER_EPOCH_CRC_AT)))
    at += LEADER_EPOCH_ENTRY_BYTES
  }
  return bytes
}

/**
 * What a `leader-epochs` file says. A torn last entry is not there yet, so it is left out; `wholeBytes` is where the whole
 * ones end. An earlier bad entry, or a bad header, makes the file unreadable: rebuild it from the batches' epochs.
 */
export function decodeLeaderEpochs(
  bytes: Uint8Array,
): CheckedAnswer<{ readonly entries: LeaderEpochEntry[]; readonly wholeBytes: number }> {
  if (bytes.length < LEADER_EPOCHS_HEADER_BYTES) return unreadable(`${bytes.length} bytes are fewer than its header`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let index = 0; index < 4; index++) {
    if (bytes[index] !== LEADER_EPOCHS_MAGIC.charCodeAt(index)) return unreadable('it does not begin with MRLE')
  }
  const version = view.getUint32(LEADER_EPOCHS_VERSION_AT)
  if (version !== LEADER_EPOCHS_VERSION) return unreadable(`format version ${version}, not ${LEADER_EPOCHS_VERSION}`)
  const entries: LeaderEpochEntry[] = []
  let at = LEADER_EPOCHS_HEADER_BYTES
  while (at + LEADER_EPOCH_ENTRY_BYTES <= bytes.length) {
    const epoch = view.getInt32(at + LEADER_EPOCH_EPOCH_AT)
    const startOffset = readSafeInt64(view, at + LEADER_EPOCH_START_AT)
    const isSound = view.getUint32(at + LEADER_EPOCH_CRC_AT) === crc32c(bytes.subarray(at, at + LEADER_EPOCH_CRC_AT))
    if (!isSound) {
      if (at + LEADER_EPOCH_ENTRY_BYTES === bytes.length) break
      return unreadable(`entry ${entries.length} fails its checksum`)
    }
    const last = entries[entries.length - 1]
    if (Number.isNaN(startOffset) || (last !== undefined && (epoch <= last[0] || startOffset < last[1]))) {
      return unreadable(`entry ${entries.length} is out of order`)
    }
    entries.push([epoch, startOffset])
    at += LEADER_EPOCH_ENTRY_BYTES
  }
  return { kind: 'present', value: { entries, wholeBytes: at } }
}

function unreadable(why: string): { readonly kind: 'unreadable'; readonly reason: string } {
  return { kind: 'unreadable', reason: `leader epochs: ${why}` }
}
