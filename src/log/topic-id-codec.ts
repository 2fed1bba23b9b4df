/** The codec that the binary files of log/ share for topic ids: 16 bytes for 32 hex digits. */
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
