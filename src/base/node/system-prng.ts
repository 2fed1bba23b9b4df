/** Chance from the operating system: a fresh seed at each start. */
import { randomBytes } from 'node:crypto'
import { SeededPrng } from '../prng.ts'

/** A generator whose seed nobody chose. */
export function systemPrng(): SeededPrng {
  return new SeededPrng(randomBytes(6).readUIntBE(0, 6))
}
