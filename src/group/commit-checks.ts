/**
 * What a commit may not be as a whole. Asked before its first record, for a decision cannot take one back, and must fit a batch.
 *
 * Limits  batchBytesMax of the coordinator's partition; COORDINATOR_PENDING_OFFSETS_MAX
 */
import { utf8Bytes } from '../base/utf8-write.ts'
import type { TopicId } from '../model/ids.ts'
import { COORDINATOR_PENDING_OFFSETS_MAX, OFFSET_METADATA_BYTES_MAX } from '../model/limits.ts'
import { BATCH_HEADER_BYTES } from '../record/batch-layout.ts'
import { RECORD_OVERHEAD_BYTES_MAX } from '../record/batch-writer.ts'
import type { GroupContext } from './group-context.ts'
import { OFFSET_RECORD_BYTES } from './group-records.ts'
import { resolveTopic } from './request-checks.ts'
import { type GroupRefusal, isRefusal, type OffsetCommitRequest, refuse } from './requests.ts'

/** Each partition once, and all records in one batch. Topics that are not known are not looked at: they are refused for themselves. */
export function checkCommit(
  { directory, batchBytesMax }: GroupContext,
  { groupId, topics }: OffsetCommitRequest,
): GroupRefusal | undefined {
  const seen = new Map<TopicId, Set<number>>()
  const recordBytes = RECORD_OVERHEAD_BYTES_MAX + OFFSET_RECORD_BYTES + utf8Bytes(groupId)
  let bytes = BATCH_HEADER_BYTES
  for (const named of topics) {
    const topic = resolveTopic(directory, named)
    if (isRefusal(topic)) continue
    let partitions = seen.get(topic.topicId)
    if (partitions === undefined) seen.set(topic.topicId, (partitions = new Set()))
    for (const { partition, metadata } of named.partitions) {
      if (partitions.has(partition))
        return refuse('INVALID_REQUEST', `partition ${partition} of '${topic.name}' is named twice: commit it once`)
      partitions.add(partition)
      bytes += recordBytes + Math.min(utf8Bytes(metadata), OFFSET_METADATA_BYTES_MAX)
    }
  }
  const bytesMax = batchBytesMax()
  if (bytes <= bytesMax) return undefined
  const text = `the commit takes ${bytes} bytes of the group's log, a batch has ${bytesMax}: commit fewer partitions at once`
  return refuse('INVALID_COMMIT_OFFSET_SIZE', text)
}

export function checkPendingCount({ state }: GroupContext, { topics }: OffsetCommitRequest): GroupRefusal | undefined {
  let count = state.pending.count
  for (const { partitions } of topics) count += partitions.length
  if (count <= COORDINATOR_PENDING_OFFSETS_MAX) return undefined
  const text = `open transactions have ${state.pending.count} offsets pending at this coordinator, the most is ${COORDINATOR_PENDING_OFFSETS_MAX}`
  return refuse('OVERLOADED', text)
}
