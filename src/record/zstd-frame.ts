/**
 * Whether bytes are whole Zstandard frames, and how many bytes they unpack to for certain, before they are unpacked (RFC 8878,
 * section 3.1). A decoder that is fed whole frames only is left at the beginning of a frame, and can be used again.
 */

const MAGIC = 0xfd2fb528
/** Magic numbers of frames to skip: 0x184d2a50 to 0x184d2a5f. */
const SKIPPABLE_MAGIC = 0x184d2a50
const SINGLE_SEGMENT_BIT = 0x20
const CHECKSUM_BIT = 0x04
const DICTIONARY_BYTES = [0, 1, 2, 4] as const
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const
const RAW_BLOCK = 0
const RLE_BLOCK = 1
const RESERVED_BLOCK = 3

/**
 * At least the bytes that the frames of `bytes` unpack to: what they declare, or else the sum of the blocks that are not compressed.
 * Undefined when `bytes` is not one whole frame after the other.
 */
export function zstdBytesMin(bytes: Uint8Array): number | undefined {
  let total = 0
  let at = 0
  do {
    const frame = zstdFrameAt(bytes, at)
    if (frame === undefined) return undefined
    total += frame.bytesMin
    at = frame.end
  } while (at < bytes.length)
  return total
}

/** The whole frame that begins at `at`: where it ends, and at least how much it unpacks to; undefined when there is none. */
export function zstdFrameAt(bytes: Uint8Array, at: number): { end: number; bytesMin: number } | undefined {
  if (bytes.length - at < 8) return undefined
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const magic = data.getUint32(at, true)
  if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC)
    return within(bytes, { end: at + 8 + data.getUint32(at + 4, true), bytesMin: 0 })
  if (magic !== MAGIC) return undefined
  const descriptor = bytes[at + 4]!
  const sizeAt = contentSizeAt(at, descriptor)
  const sizeBytes = contentSizeBytes(descriptor)
  if (sizeAt + sizeBytes > bytes.length) return undefined
  const blocks = passBlocks(data, sizeAt + sizeBytes)
  if (blocks === undefined) return undefined
  const bytesMin = sizeBytes === 0 ? blocks.bytesMin : contentSize(data, sizeAt, sizeBytes)
  return within(bytes, { end: blocks.end + ((descriptor & CHECKSUM_BIT) === 0 ? 0 : 4), bytesMin })
}

function within<T extends { readonly end: number }>(bytes: Uint8Array, frame: T): T | undefined {
  return frame.end <= bytes.length ? frame : undefined
}

function contentSizeAt(frameAt: number, descriptor: number): number {
  const windowBytes = (descriptor & SINGLE_SEGMENT_BIT) === 0 ? 1 : 0
  return frameAt + 5 + windowBytes + DICTIONARY_BYTES[(descriptor & 3) as 0 | 1 | 2 | 3]
}

function contentSizeBytes(descriptor: number): number {
  const flag = (descriptor >> 6) as 0 | 1 | 2 | 3
  return flag === 0 && (descriptor & SINGLE_SEGMENT_BIT) !== 0 ? 1 : CONTENT_SIZE_BYTES[flag]
}

function contentSize(data: DataView, at: number, sizeBytes: number): number {
  if (sizeBytes === 1) return data.getUint8(at)
  if (sizeBytes === 2) return data.getUint16(at, true) + 256
  if (sizeBytes === 4) return data.getUint32(at, true)
  return Number(data.getBigUint64(at, true))
}

/** Passes over the blocks of a frame; undefined when they do not end within the bytes. */
function passBlocks(data: DataView, from: number): { end: number; bytesMin: number } | undefined {
  let bytesMin = 0
  let at = from
  for (;;) {
    if (data.byteLength - at < 3) return undefined
    const header = data.getUint16(at, true) | (data.getUint8(at + 2) << 16)
    const type = (header >> 1) & 3
    const size = header >> 3
    if (type === RESERVED_BLOCK) return undefined
    if (type === RAW_BLOCK || type === RLE_BLOCK) bytesMin += size
    at += 3 + (type === RLE_BLOCK ? 1 : size)
    if (at > data.byteLength) return undefined
    if ((header & 1) === 1) return { end: at, bytesMin }
  }
}
