/**
 * How large an LZ4 frame is unpacked, before it is unpacked (LZ4 Frame Format 1.6.4, LZ4 Block Format).
 * A declared content size may be missing or a lie; the blocks cannot be: first their bound is taken, and where that is too
 * much, the sequences of each block are counted.
 */

const MAGIC = 0x184d2204
const BLOCK_CHECKSUM_BIT = 0x10
const CONTENT_SIZE_BIT = 0x08
const CONTENT_CHECKSUM_BIT = 0x04
const DICTIONARY_BIT = 0x01
const UNCOMPRESSED_BIT = 0x8000_0000

/**
 * At least the bytes that the one frame in `bytes` unpacks to; exact where the easy bound is above `enough`.
 * Undefined when it is not exactly one well-formed frame.
 */
export function lz4FrameBytesMax(bytes: Uint8Array, enough: number): number | undefined {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (bytes.length < 11 || data.getUint32(0, true) !== MAGIC) return undefined
  const flags = bytes[4]!
  const blockSizeId = (bytes[5]! >> 4) & 7
  if (flags >> 6 !== 1 || blockSizeId < 4) return undefined
  const blockBytesMax = 1 << (8 + 2 * blockSizeId)
  const from = 7 + ((flags & CONTENT_SIZE_BIT) === 0 ? 0 : 8) + ((flags & DICTIONARY_BIT) === 0 ? 0 : 4)
  const checksumBytes = (flags & BLOCK_CHECKSUM_BIT) === 0 ? 0 : 4

  let total = 0
  let isExact = false
  let at = from
  for (;;) {
    if (bytes.length - at < 4) return undefined
    const word = data.getUint32(at, true)
    at += 4
    if (word === 0) break
    const isPlain = word >= UNCOMPRESSED_BIT
    const size = isPlain ? word - UNCOMPRESSED_BIT : word
    if (size > blockBytesMax || size + checksumBytes > bytes.length - at) return undefined
    if (isPlain) total += size
    else total += isExact ? blockBytes(data, at, at + size) : blockBytesMax
    if (total > enough && !isExact) {
      // The bound is too coarse: count the blocks so far, and each from here on.
      isExact = true
      total = countBlocks(data, from, at + size, checksumBytes)
    }
    if (total > enough) return total
    at += size + checksumBytes
  }
  if ((flags & CONTENT_CHECKSUM_BIT) !== 0) at += 4
  return at === bytes.length ? total : undefined
}

/** Unpacked bytes of the blocks from `from` to the one that ends at `end`. */
function countBlocks(data: DataView, from: number, end: number, checksumBytes: number): number {
  let total = 0
  for (let at = from; at < end; ) {
    const word = data.getUint32(at, true)
    const size = word >= UNCOMPRESSED_BIT ? word - UNCOMPRESSED_BIT : word
    total += word >= UNCOMPRESSED_BIT ? size : blockBytes(data, at + 4, at + 4 + size)
    at += 4 + size + checksumBytes
  }
  return total
}

/** Unpacked bytes of one block: the sum of its literals and matches. */
function blockBytes(data: DataView, from: number, end: number): number {
  let total = 0
  for (let at = from; at < end; ) {
    const token = data.getUint8(at++)
    let literals = token >> 4
    if (literals === 15) for (let more = 255; more === 255 && at < end; literals += more) more = data.getUint8(at++)
    at += literals + 2
    total += literals
    if (at > end) break // the last sequence has literals only
    let match = (token & 15) + 4
    if (match === 19) for (let more = 255; more === 255 && at < end; match += more) more = data.getUint8(at++)
    total += match
  }
  return total
}
