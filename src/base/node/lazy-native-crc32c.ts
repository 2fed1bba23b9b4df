/**
 * The native CRC-32C, from the moment on that there is work for it: loading it takes longer than the plain make needs for this much.
 * Importing this file puts it in force, unless the native one is already. Where it cannot be loaded the plain one goes on.
 */
import { createRequire } from 'node:module'
import { type Crc32c, crc32cMake, plainCrc32c, useCrc32c } from '../crc32c.ts'

/** The plain make does a gigabyte in about two seconds. */
const PLAIN_BYTES_MAX = 1024 * 1024

let plainBytes = 0

const lazyCrc32c: Crc32c = (bytes, seed = 0) => {
  plainBytes += bytes.length
  if (plainBytes > PLAIN_BYTES_MAX) useCrc32c(nativeOr(plainCrc32c))
  return plainCrc32c(bytes, seed)
}

function nativeOr(otherwise: Crc32c): Crc32c {
  try {
    const { crc32c } = createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: Crc32c }
    return (bytes, seed) => crc32c(bytes, seed)
  } catch {
    return otherwise
  }
}

if (crc32cMake() === plainCrc32c) useCrc32c(lazyCrc32c)
