/** Prng: the port through which everything that decides draws chance; a seed replays a run exactly. */

export interface Prng {
  /** Uniform integer in [0, bound), bound in [1, 2^32]. */
  below(bound: number): number
  /** Uniform unsigned 32-bit integer. */
  uint32(): number
  /** Uniform number in [0, 1). */
  unit(): number
}

/** sfc32 (Chris Doty-Humphrey), 128 bits of state: fast, passes PractRand; not for secrets. */
export class SeededPrng implements Prng {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number) {
    this.#a = 0x9e3779b9 | 0
    this.#b = seed | 0
    this.#c = Math.floor(seed / 0x1_0000_0000) | 0
    for (let round = 0; round < 15; round++) this.uint32()
  }

  uint32(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  below(bound: number): number {
    return Math.floor((this.uint32() / 0x1_0000_0000) * bound)
  }

  unit(): number {
    return this.uint32() / 0x1_0000_0000
  }
}
