/**
 * KeyOffsets: for each key the highest offset seen, within a bound of memory: what a compaction keeps by.
 *
 * Owns        an open-addressing table in typed arrays: a key is known by 16 bytes of hash, never by itself
 * Invariants  KO1 get() answers the largest offset that put() was given for the key
 *             KO2 two keys are one with a chance of n² / 2^129, and nobody can make them so: the hash has a key, by chance for each run
 * Limits      memoryBytesMax; the table doubles up to it. Full: put() answers false, and nothing was taken
 */
import { assert } from '../base/assert.ts'
import { HalfSipHash } from '../base/half-sip-hash.ts'

const HASH_WORDS = 4
/** A slot: sixteen bytes of hash, eight of offset. */
export const KEY_OFFSET_BYTES = HASH_WORDS * 4 + 8
const SLOTS_FIRST = 1024
/** Occupied slots of four, at most: longer probes cost more than the memory is worth. */
const LOAD_MAX = 0.75

export class KeyOffsets {
  readonly #slotsMax: number
  readonly #left: HalfSipHash
  readonly #right: HalfSipHash
  #mask = 0
  #hashes = new Uint32Array(0)
  /** Offset plus one; 0 = the slot is free. */
  #offsets = new Float64Array(0)
  count = 0

  /** `seed`: four words by chance. */
  constructor(options: { readonly memoryBytesMax: number; readonly seed: readonly number[] }) {
    const { memoryBytesMax, seed } = options
    assert(seed.length === HASH_WORDS, 'the seed of a key table has four words')
    this.#slotsMax = 2 ** Math.floor(Math.log2(memoryBytesMax / KEY_OFFSET_BYTES))
    assert(this.#slotsMax >= 2, `${memoryBytesMax} bytes hold no key`)
    this.#left = new HalfSipHash(seed[0]!, seed[1]!)
    this.#right = new HalfSipHash(seed[2]!, seed[3]!)
    this.#allocate(Math.min(SLOTS_FIRST, this.#slotsMax))
  }

  /** Keys that fit. */
  get countMax(): number {
    return Math.floor(this.#slotsMax * LOAD_MAX)
  }

  get memoryBytes(): number {
    return (this.#mask + 1) * KEY_OFFSET_BYTES
  }

  /** Notes that the key in bytes[at, at + keyBytes) has a record at `offset`; false: there is no room for another key. */
  put(bytes: Uint8Array, at: number, keyBytes: number, offset: number): boolean {
    this.#hash(bytes, at, keyBytes)
    let slot = this.#find()
    if (this.#offsets[slot] === 0) {
      if (this.count + 1 > (this.#mask + 1) * LOAD_MAX) {
        if (this.#mask + 1 === this.#slotsMax) return false
        this.#grow()
        slot = this.#find()
      }
      this.#fill(this.#hashes, slot)
      this.count++
    }
    if (offset + 1 > this.#offsets[slot]!) this.#offsets[slot] = offset + 1
    return true
  }

  /** The highest offset of the key; −1: none is known. */
  get(bytes: Uint8Array, at: number, keyBytes: number): number {
    this.#hash(bytes, at, keyBytes)
    return this.#offsets[this.#find()]! - 1
  }

  #hash(bytes: Uint8Array, at: number, keyBytes: number): void {
    this.#left.hash(bytes, at, at + keyBytes)
    this.#right.hash(bytes, at, at + keyBytes)
  }

  /** The slot of the hash, or the free one where it belongs. */
  #find(): number {
    const hashes = this.#hashes
    const { low: l0, high: l1 } = this.#left
    const { low: r0, high: r1 } = this.#right
    let slot = l0 & this.#mask
    while (this.#offsets[slot] !== 0) {
      const word = slot * HASH_WORDS
      const isSame =
        (hashes[word]! | 0) === (l0 | 0) &&
        (hashes[word + 1]! | 0) === (l1 | 0) &&
        (hashes[word + 2]! | 0) === (r0 | 0) &&
        (hashes[word + 3]! | 0) === (r1 | 0)
      if (isSame) return slot
      slot = (slot + 1) & this.#mask
    }
    return slot
  }

  #fill(hashes: Uint32Array, slot: number): void {
    const word = slot * HASH_WORDS
    hashes[word] = this.#left.low
    hashes[word + 1] = this.#left.high
    hashes[word + 2] = this.#right.low
    hashes[word + 3] = this.#right.high
  }

  #grow(): void {
    const hashes = this.#hashes
    const offsets = this.#offsets
    this.#allocate(2 * (this.#mask + 1))
    for (let from = 0; from < offsets.length; from++) {
      if (offsets[from] === 0) continue
      const word = from * HASH_WORDS
      let slot = hashes[word]! & this.#mask
      while (this.#offsets[slot] !== 0) slot = (slot + 1) & this.#mask
      this.#hashes.set(hashes.subarray(word, word + HASH_WORDS), slot * HASH_WORDS)
      this.#offsets[slot] = offsets[from]!
    }
  }

  #allocate(slots: number): void {
    this.#mask = slots - 1
    this.#hashes = new Uint32Array(slots * HASH_WORDS)
    this.#offsets = new Float64Array(slots)
  }
}
