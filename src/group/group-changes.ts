/**
 * GroupChanges: the records of one decision in the making. Each is applied as it is made, by the same applyRecord() that a
 * replay uses: later steps of the decision see it, and a replay cannot differ.
 *
 * Rule  a decision checks everything before its first record: from then on it cannot refuse
 */
import type { ProducerIdentity } from '../model/producer-identity.ts'
import type { EncodedRecord } from '../record/record-table.ts'
import { applyPending, applyRecord } from './apply-record.ts'
import { encodeRecord, type GroupRecord, type PendingRecord } from './group-records.ts'
import type { GroupState } from './group-state.ts'
import type { Release } from './requests.ts'

export const NO_RECORDS: readonly never[] = []

export class GroupChanges {
  readonly state: GroupState
  readonly records: EncodedRecord[] = []
  readonly notices: string[] = []
  /** Requests that waited, and have their answers now. */
  readonly releases: Release[] = []

  constructor(state: GroupState) {
    this.state = state
  }

  emit(record: GroupRecord): void {
    this.records.push(encodeRecord(record))
    applyRecord(this.state, record)
  }

  /** The same as part of a transaction: it counts when that is committed. */
  emitPending(record: PendingRecord, { producerId }: ProducerIdentity): void {
    this.records.push(encodeRecord(record))
    applyPending(this.state, record, producerId)
  }
}
