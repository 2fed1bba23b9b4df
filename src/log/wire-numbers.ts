/** Small codecs that the binary files of log/ share: topic ids as 16 bytes. Integers are little-endian, offsets int64. */
import type { TopicId } from '../model/ids.ts'

export const TOPIC_ID_BYTES = 16

const HEX_OF: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

export function writeTopicId(bytes: Uint8Array, at: number, topicId: TopicId): void {
  for (let index = 0; index < TOPIC_ID_BYTES; index++)
    bytes[at + index] = (nibble(topicId.charCodeAt(index * 2)) << 4) | nibble(topicId.charCodeAt(index * 2 + 1))
}

function nibble(code: number): number {
  return code <= 0x39 ? code - 0x30 : code - 0x57
}

export function readTopicId(bytes: Uint8Array, at: number): TopicId {
  let text = ''
  for (let index = 0; index < TOPIC_ID_BYTES; index++) text += HEX_OF[bytes[at + index]!]!
  return text as TopicId
}

/** Safe integer as int64, little-endian. */
export function writeInt64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true)
  view.setInt32(at + 4, Math.floor(value / 0x1_0000_0000), true)
}

/** int64, little-endian; NaN when it is not a safe integer. */
export function readInt64(view: DataView, at: number): number {
  const high = view.getInt32(at + 4, true)
  if (high > 0x1fffff || high < -0x200000) return Number.NaN
  return high * 0x1_0000_0000 + view.getUint32(at, true)
}
