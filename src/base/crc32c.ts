/**
 * CRC-32C (Castagnoli), the checksum of record batches and of every file of a data dir.
 * The plain make below runs anywhere; Node replaces it by the native one: import base/node/native-crc32c.ts
 * in a composition root before any work.
 */
import { assert } from './assert.ts'

/** CRC-32C of `bytes`, an unsigned 32-bit integer; `seed` continues an earlier result. */
export type Crc32c = (bytes: Uint8Array, seed?: number) => number

const TABLE = makeTable()

function makeTable(): Uint32Array {
  const table = new Uint32Array(256)
  for (let index = 0; index < 256; index++) {
    let value = index
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
    table[index] = value >>> 0
  }
  return table
}

/** The plain make: one table, about 400 MB/s. */
export const plainCrc32c: Crc32c = (bytes, seed = 0) => {
  let crc = ~seed
  for (let index = 0; index < bytes.length; index++) crc = TABLE[(crc ^ bytes[index]!) & 0xff]! ^ (crc >>> 8)
  return ~crc >>> 0
}

let current: Crc32c = plainCrc32c

/** CRC-32C by the make in force. */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  return current(bytes, seed)
}

/** Puts another make in force, after checking it against the standard's check value. */
export function useCrc32c(make: Crc32c): void {
  const check = make(Uint8Array.from([0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39]))
  assert(check === 0xe3069283, 'the CRC-32C make in use does not give the check value 0xe3069283')
  current = make
}
