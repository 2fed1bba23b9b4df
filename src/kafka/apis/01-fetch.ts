/**
 * Fetch (1): reads record batches of partitions, waiting for minBytes of them.
 *
 * Versions  4–17, flexible from 12. v7 has fetch sessions (KIP-227), v9 the client's leader epoch (KIP-320), v11 its rack (KIP-392), v12 where histories
 *           part (KIP-595), v13 topics by id alone, v15 the follower's id as a tagged field, v16 where a new leader is (KIP-951)
 * Response  whole batches, from the one that has the fetch offset on: clients skip the records before it. The records are spliced in, not copied
 *           abortedTransactions is null for read_uncommitted, and a list for read_committed, even an empty one
 * Traps     high watermark, last stable and log start offset are always filled: clients compute their lag and the end of a partition from them
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int8, int16, int32, int64, records, string, struct, uuid } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const fetch = new KafkaApi({
  key: KafkaKey.FETCH,
  name: 'Fetch',
  versions: [4, 17],
  flexibleSince: 12,
  request: struct({
    clusterId: string.nullable().since(12).tag(0),
    replicaId: int32.until(14).or(-1),
    replicaState: struct({ replicaId: int32.or(-1), replicaEpoch: int64.or(-1) })
      .since(15)
      .tag(1),
    maxWaitMs: int32,
    minBytes: int32,
    maxBytes: int32.or(0x7fffffff),
    isolationLevel: int8,
    sessionId: int32.since(7),
    sessionEpoch: int32.since(7).or(-1),
    topics: array(
      struct({
        topic: string.until(12),
        topicId: uuid.since(13),
        partitions: array(
          struct({
            partition: int32,
            currentLeaderEpoch: int32.since(9).or(-1),
            fetchOffset: int64,
            lastFetchedEpoch: int32.since(12).or(-1),
            logStartOffset: int64.since(5).or(-1),
            partitionMaxBytes: int32,
            replicaDirectoryId: uuid.since(17).tag(0),
          }),
        ),
      }),
    ),
    forgottenTopicsData: array(
      struct({ topic: string.until(12), topicId: uuid.since(13), partitions: array(int32) }),
    ).since(7),
    rackId: string.since(11),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    errorCode: int16.since(7),
    sessionId: int32.since(7),
    responses: array(
      struct({
        topic: string.until(12),
        topicId: uuid.since(13),
        partitions: array(
          struct({
            partitionIndex: int32,
            errorCode: int16,
            highWatermark: int64,
            lastStableOffset: int64.or(-1),
            logStartOffset: int64.since(5).or(-1),
            divergingEpoch: struct({ epoch: int32.or(-1), endOffset: int64.or(-1) })
              .since(12)
              .tag(0),
            currentLeader: struct({ leaderId: int32.or(-1), leaderEpoch: int32.or(-1) })
              .since(12)
              .tag(1),
            snapshotId: struct({ endOffset: int64.or(-1), epoch: int32.or(-1) })
              .since(12)
              .tag(2),
            abortedTransactions: array(struct({ producerId: int64, firstOffset: int64 })).nullable(),
            preferredReadReplica: int32.since(11).or(-1),
            records: records.nullable(),
          }),
        ),
      }),
    ),
    nodeEndpoints: array(struct({ nodeId: int32, host: string, port: int32, rack: string.nullable() }))
      .since(16)
      .tag(0),
  }),
})
