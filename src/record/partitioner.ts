/**
 * Which partition a key belongs to: murmur2 as in Kafka's Java client, so that all clients agree.
 * Null keys have no partition of their own: the producer stays on one until a batch is full (KIP-480).
 */
import { utf8Encode } from '../base/bytes.ts'

const SEED = 0x9747b28c
const M = 0x5bd1e995
const R = 24

/** murmur2, 32 bits, signed, of [0, length) of `bytes`. Must not change: it says where a key's records are. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length
  let hash = SEED ^ length
  let at = 0
  for (; at + 4 <= length; at += 4) {
    let block = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    block = Math.imul(block, M)
    block ^= block >>> R
    hash = Math.imul(hash, M) ^ Math.imul(block, M)
  }
  const left = length - at
  if (left > 0) {
    if (left === 3) hash ^= bytes[at + 2]! << 16
    if (left >= 2) hash ^= bytes[at + 1]! << 8
    hash = Math.imul(hash ^ bytes[at]!, M)
  }
  hash = Math.imul(hash ^ (hash >>> 13), M)
  return hash ^ (hash >>> 15)
}

/** The partition of `key` among `partitions`: the hash's lower 31 bits, modulo. An empty key is a key. */
export function partitionOfKey(key: Uint8Array | string, partitions: number): number {
  return (murmur2(typeof key === 'string' ? utf8Encode(key) : key) & 0x7fffffff) % partitions
}
