/** What a composition root makes of a broker's configuration for its shards: sizes of their channels, their options. */
import type { KnownPartition } from '../broker/storage-tasks.ts'
import type { BrokerConfig } from '../config/index.ts'
import type { TopicRecord } from '../coordination/topics.ts'
import { REQUEST_PARTITIONS_MAX } from '../model/limits.ts'
import { fetchBytes } from '../ring/message-codec.ts'
import { ringCapacityFor } from '../ring/ring-layout.ts'
import type { ShardChannelOptions } from '../ring/shard-channel.ts'
import type { ShardOptions } from '../worker/shard-options.ts'

const DISK_RING_BYTES = 256 * 1024
const READ_RING_BYTES = ringCapacityFor(fetchBytes(REQUEST_PARTITIONS_MAX))
const SPACE_PROBE_BYTES = 64 * 1024 * 1024

export type ChannelSizes = Omit<ShardChannelOptions, 'doorbell'>

export function channelSizesOf(config: BrokerConfig): ChannelSizes {
  const { rings, pages } = config
  return {
    requestRingBytes: rings.requestBytes,
    readRingBytes: READ_RING_BYTES,
    replyRingBytes: rings.replyBytes,
    diskRequestRingBytes: DISK_RING_BYTES,
    diskReplyRingBytes: DISK_RING_BYTES,
    pageBytes: pages.bytes,
    pageCount: Math.max(16, Math.floor(pages.poolBytes / pages.bytes)),
  }
}

export function shardOptionsOf(config: BrokerConfig): Partial<ShardOptions> {
  const { storage, groups, transactions, cluster } = config
  return {
    replicaLagMs: cluster.replicaLagMs,
    journalThresholdPartitions: storage.journalThresholdPartitions,
    journalBytes: storage.journalBytes,
    spaceLowBytes: storage.reserveBytes,
    // Free space is asked for often enough that what is written in between cannot use up the reserve.
    spaceProbeBytes: Math.min(SPACE_PROBE_BYTES, storage.reserveBytes / 4),
    checkpointMs: storage.checkpointMs,
    checkpointBytes: storage.checkpointBytes,
    scrubPeriodMs: storage.scrubPeriodMs,
    offsetsRetentionMs: groups.offsetsRetentionMs,
    initialRebalanceDelayMs: groups.initialRebalanceDelayMs,
    transactionTimeoutMsMax: transactions.timeoutMsMax,
    transactionalIdExpirationMs: transactions.idExpirationMs,
    compactionCheckMs: storage.compactionCheckMs,
    compactionMemoryBytes: storage.compactionMemoryBytes,
  }
}

export function partitionsOf(topics: readonly TopicRecord[]): KnownPartition[] {
  return topics.flatMap(({ topicId, partitions }) => partitions.map((_, partition) => ({ topicId, partition })))
}
