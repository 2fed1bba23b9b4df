/**
 * Snappy as Kafka's clients write it: the xerial stream (Java) and the bare block (librdkafka and others).
 *
 * | at | size | xerial stream                                                  |
 * | -: | ---: | -------------------------------------------------------------- |
 * |  0 |    8 | 82 53 4e 41 50 50 59 00                                        |
 * |  8 |    4 | i32 version 1                                                  |
 * | 12 |    4 | i32 lowest compatible version 1                                |
 * | 16 |      | repeated: i32 bytes of the block, the block (32 KiB unpacked)  |
 *
 * A block begins with its unpacked length as an unsigned varint.
 * Limits   a block cannot unpack to more than SNAPPY_RATIO_MAX times its bytes: a length that says so is a lie
 */

const MAGIC = Uint8Array.of(0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0)
const HEADER_BYTES = 16
const BLOCK_BYTES = 32 * 1024
/** Snappy's best: a copy of 64 bytes in three. */
const SNAPPY_RATIO_MAX = 22

/** Packs `bytes` block by block into a xerial stream. */
export function xerialStream(bytes: Uint8Array, packBlock: (block: Uint8Array) => Uint8Array): Uint8Array {
  const blocks: Uint8Array[] = []
  let total = HEADER_BYTES
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const block = packBlock(bytes.subarray(at, at + BLOCK_BYTES))
    blocks.push(block)
    total += 4 + block.length
  }
  const stream = new Uint8Array(total)
  const data = new DataView(stream.buffer)
  stream.set(MAGIC)
  data.setInt32(8, 1)
  data.setInt32(12, 1)
  let at = HEADER_BYTES
  for (const block of blocks) {
    data.setInt32(at, block.length)
    stream.set(block, at + 4)
    at += 4 + block.length
  }
  return stream
}

/** Unpacked bytes that `bytes`, of either form, says it has; undefined when that cannot be. Allocates nothing. */
export function snappyBytes(bytes: Uint8Array): number | undefined {
  if (!isXerial(bytes)) return blockBytes(bytes, 0, bytes.length)
  let total = 0
  for (let at = HEADER_BYTES; at < bytes.length; ) {
    const size = blockSize(bytes, at)
    const unpacked = size === undefined ? undefined : blockBytes(bytes, at + 4, at + 4 + size)
    if (size === undefined || unpacked === undefined) return undefined
    total += unpacked
    at += 4 + size
  }
  return total
}

/** The unpacked bytes of a xerial stream that snappyBytes() has accepted; undefined for a bare block. */
export function unpackXerial(
  bytes: Uint8Array,
  unpackBlock: (block: Uint8Array) => Uint8Array,
): Uint8Array | undefined {
  if (!isXerial(bytes)) return undefined
  const unpacked = new Uint8Array(snappyBytes(bytes) ?? 0)
  let to = 0
  for (let at = HEADER_BYTES; at < bytes.length; ) {
    const size = blockSize(bytes, at) ?? 0
    const block = unpackBlock(bytes.subarray(at + 4, at + 4 + size))
    unpacked.set(block, to)
    to += block.length
    at += 4 + size
  }
  return unpacked
}

function isXerial(bytes: Uint8Array): boolean {
  return bytes.length >= HEADER_BYTES && MAGIC.every((byte, index) => bytes[index] === byte)
}

/** Bytes of the block whose length stands at `at`; undefined when it does not lie within `bytes`. */
function blockSize(bytes: Uint8Array, at: number): number | undefined {
  if (bytes.length - at < 4) return undefined
  const size = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
  return size > 0 && size <= bytes.length - at - 4 ? size : undefined
}

/** Unpacked bytes that the block at [at, end) says it has. */
function blockBytes(bytes: Uint8Array, at: number, end: number): number | undefined {
  let declared = 0
  let scale = 1
  for (let index = at; index < Math.min(end, at + 5); index++) {
    declared += (bytes[index]! & 0x7f) * scale
    scale *= 128
    if (bytes[index]! < 0x80) return declared <= SNAPPY_RATIO_MAX * (end - at) ? declared : undefined
  }
  return undefined
}
