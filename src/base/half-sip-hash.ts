/**
 * HalfSipHash-2-4 with a tag of 64 bits: a keyed hash made of 32-bit additions, rotations and exclusive ors, which a JavaScript
 * engine does without allocating. Who does not know the key cannot make two inputs meet.
 *
 * Source   J.-P. Aumasson, D. J. Bernstein: the SipHash reference implementation, halfsiphash.c; its published vectors are the test
 */

/** State between calls of one hash: made once, used for every input. */
export class HalfSipHash {
  /** The tag of the last hash(), in two words. */
  low = 0
  high = 0
  readonly #k0: number
  readonly #k1: number
  #v0 = 0
  #v1 = 0
  #v2 = 0
  #v3 = 0

  /** The key's eight bytes as two little-endian words. */
  constructor(k0: number, k1: number) {
    this.#k0 = k0 | 0
    this.#k1 = k1 | 0
  }

  /** Hashes bytes[from, end) into low and high. */
  hash(bytes: Uint8Array, from: number, end: number): void {
    this.#v0 = this.#k0
    this.#v1 = this.#k1 ^ 0xee
    this.#v2 = 0x6c796765 ^ this.#k0
    this.#v3 = 0x74656462 ^ this.#k1
    const wholeEnd = end - ((end - from) & 3)
    for (let at = from; at < wholeEnd; at += 4)
      this.#take(bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24))
    let last = (end - from) << 24
    for (let at = wholeEnd; at < end; at++) last |= bytes[at]! << ((at - wholeEnd) * 8)
    this.#take(last)
    this.#v2 ^= 0xee
    this.#rounds(4)
    this.low = this.#v1 ^ this.#v3
    this.#v1 ^= 0xdd
    this.#rounds(4)
    this.high = this.#v1 ^ this.#v3
  }

  #take(word: number): void {
    this.#v3 ^= word
    this.#rounds(2)
    this.#v0 ^= word
  }

  #rounds(count: number): void {
    let v0 = this.#v0
    let v1 = this.#v1
    let v2 = this.#v2
    let v3 = this.#v3
    for (let round = 0; round < count; round++) {
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
    }
    this.#v0 = v0
    this.#v1 = v1
    this.#v2 = v2
    this.#v3 = v3
  }
}
