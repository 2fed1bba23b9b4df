/** What the header of a Zstandard frame says about its size (RFC 8878, section 3.1.1). */

const MAGIC = 0xfd2fb528
const SINGLE_SEGMENT_BIT = 0x20
const DICTIONARY_BYTES = [0, 1, 2, 4] as const
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const

/**
 * Unpacked bytes that the first frame of `bytes` declares; 0 when it declares none, as frames of a stream do:
 * the unpacking itself is bounded then. Undefined when there is no frame.
 */
export function zstdContentBytes(bytes: Uint8Array): number | undefined {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (bytes.length < 6 || data.getUint32(0, true) !== MAGIC) return undefined
  const descriptor = bytes[4]!
  const isSingleSegment = (descriptor & SINGLE_SEGMENT_BIT) !== 0
  const at = 5 + (isSingleSegment ? 0 : 1) + DICTIONARY_BYTES[(descriptor & 3) as 0 | 1 | 2 | 3]
  const flag = (descriptor >> 6) as 0 | 1 | 2 | 3
  const sizeBytes = flag === 0 && isSingleSegment ? 1 : CONTENT_SIZE_BYTES[flag]
  if (bytes.length < at + sizeBytes) return undefined
  if (sizeBytes === 0) return 0
  if (sizeBytes === 1) return data.getUint8(at)
  if (sizeBytes === 2) return data.getUint16(at, true) + 256
  if (sizeBytes === 4) return data.getUint32(at, true)
  return Number(data.getBigUint64(at, true))
}
