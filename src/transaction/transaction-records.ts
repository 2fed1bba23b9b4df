/**
 * The records of the transaction topic, as one table that encodes, decodes and documents them.
 *
 * Format   format.md; TRANSACTION_RECORD_VERSION. A test compares its table with TRANSACTION_RECORDS below
 * Failure  decodeTransaction answers what it cannot read, as record/record-table.ts says
 */
import { type EncodedRecord, type RecordLayout, RecordTable } from '../record/record-table.ts'
import { isTransactionState, type TransactionRecord } from './transaction-state.ts'

export const TRANSACTION_RECORD_VERSION = 1

export const TRANSACTION_RECORDS = {
  transaction: {
    number: 1,
    key: [['transactionalId', 'text']],
    value: [
      ['state', 'u8'],
      ['isClassic', 'bool'],
      ['producerId', 'i64'],
      ['producerEpoch', 'i32'],
      ['previousProducerId', 'i64'],
      ['previousEpoch', 'i32'],
      ['nextProducerId', 'i64'],
      ['timeoutMs', 'i32'],
      ['startMs', 'i64'],
      ['updateMs', 'i64'],
      ['partitions', 'partitions'],
    ],
  },
} as const satisfies Record<string, RecordLayout>

export type DecodedTransaction =
  | { readonly kind: 'record'; readonly record: TransactionRecord }
  | { readonly kind: 'unknown'; readonly number: number }
  | { readonly kind: 'unreadable'; readonly reason: string }

const TABLE = new RecordTable(TRANSACTION_RECORDS, TRANSACTION_RECORD_VERSION)

export function encodeTransaction(record: TransactionRecord): EncodedRecord {
  return TABLE.encode('transaction', record, record.value)
}

export function decodeTransaction(key: Uint8Array, value: Uint8Array | null): DecodedTransaction {
  const decoded = TABLE.decode(key, value)
  if (decoded.kind !== 'record') return decoded
  if (decoded.value !== null && !isTransactionState(decoded.value.state as number))
    return { kind: 'unreadable', reason: `a transaction record of state ${decoded.value.state}` }
  return { kind: 'record', record: { ...decoded.key, value: decoded.value } as unknown as TransactionRecord }
}
