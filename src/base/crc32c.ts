/**
 * CRC-32C (Castagnoli), the checksum of record batches and of every file of a data dir.
 * The plain make below runs anywhere; Node replaces it by the native one: import base/node/native-crc32c.ts
 * in a composition root before any work.
 */
import { assert } from './assert.ts'

/** CRC-32C of `bytes`, an unsigned 32-bit integer; `seed` continues an earlier result. */
export type Crc32c = (bytes: Uint8Array, seed?: number) => number

/** Eight tables of 256: table k, at 256 k, is the effect of a byte that k more bytes follow ("slicing by 8"). */
const SLICES = 8
const TABLES = makeTables()

function makeTables(): Int32Array {
  const tables = new Int32Array(SLICES * 256)
  for (let index = 0; index < 256; index++) {
    let value = index
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
    tables[index] = value
  }
  for (let index = 256; index < tables.length; index++) {
    const before = tables[index - 256]!
    tables[index] = tables[before & 0xff]! ^ (before >>> 8)
  }
  return tables
}

/** The plain make: eight bytes a step. */
export const plainCrc32c: Crc32c = (bytes, seed = 0) => {
  let crc = ~seed
  let at = 0
  for (const end = bytes.length - SLICES; at <= end; at += SLICES) {
    const low = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24))
    crc =
      TABLES[0x700 + (low & 0xff)]! ^
      TABLES[0x600 + ((low >>> 8) & 0xff)]! ^
      TABLES[0x500 + ((low >>> 16) & 0xff)]! ^
      TABLES[0x400 + (low >>> 24)]! ^
      TABLES[0x300 + bytes[at + 4]!]! ^
      TABLES[0x200 + bytes[at + 5]!]! ^
      TABLES[0x100 + bytes[at + 6]!]! ^
      TABLES[bytes[at + 7]!]!
  }
  for (; at < bytes.length; at++) crc = TABLES[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8)
  return ~crc >>> 0
}

let current: Crc32c = plainCrc32c

/** CRC-32C by the make in force. */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  return current(bytes, seed)
}

/** The make in force. */
export function crc32cMake(): Crc32c {
  return current
}

/** Puts another make in force, after checking it against the standard's check value. */
export function useCrc32c(make: Crc32c): void {
  const check = make(Uint8Array.from([0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39]))
  assert(check === 0xe3069283, 'the CRC-32C make in use does not give the check value 0xe3069283')
  current = make
}
