/**
 * Dead letters: what is stored of a record that has failed for good: its key, value and headers as they were, and headers that
 * tell where it came from and why it is here.
 *
 * Failure  a crash between the storing and the commit stores it again: at least once
 */
import type { HeaderInput } from '../../record/batch-writer.ts'
import type { ProducerRecord } from '../producer-record.ts'
import type { ConsumedRecord } from '../record-types.ts'

export const DEAD_LETTER_HEADERS = {
  topic: 'dead-letter.topic',
  partition: 'dead-letter.partition',
  offset: 'dead-letter.offset',
  timestampMs: 'dead-letter.timestamp-ms',
  group: 'dead-letter.group',
  attempts: 'dead-letter.attempts',
  errorName: 'dead-letter.error-name',
  errorMessage: 'dead-letter.error-message',
} as const

const MESSAGE_LENGTH_MAX = 1024

/** Headers of an earlier life in a dead letter topic are replaced. */
export function deadLetterOf(
  record: ConsumedRecord,
  failure: { readonly groupId: string; readonly error: unknown; readonly attempts: number },
): ProducerRecord {
  const { error } = failure
  const own: Record<keyof typeof DEAD_LETTER_HEADERS, string> = {
    topic: record.topic,
    partition: String(record.partition),
    offset: String(record.offset),
    timestampMs: String(record.timestampMs),
    group: failure.groupId,
    attempts: String(failure.attempts),
    errorName: error instanceof Error ? error.name : typeof error,
    errorMessage: (error instanceof Error ? error.message : String(error)).slice(0, MESSAGE_LENGTH_MAX),
  }
  const names = new Set<string>(Object.values(DEAD_LETTER_HEADERS))
  const headers: HeaderInput[] = record.headers.filter(({ key }) => !names.has(key))
  for (const [name, key] of Object.entries(DEAD_LETTER_HEADERS))
    headers.push({ key, value: own[name as keyof typeof DEAD_LETTER_HEADERS] })
  return { key: record.key, value: record.value, headers }
}
