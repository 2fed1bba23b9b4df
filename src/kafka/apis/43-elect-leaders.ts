/**
 * ElectLeaders (43): makes the preferred replicas lead, or any that lives.
 *
 * Versions  0–2, flexible from 2. v1 has the kind of election: 0 preferred, 1 unclean; v0 means preferred
 * Request   partitions null = all
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int8, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const electLeaders = new KafkaApi({
  key: KafkaKey.ELECT_LEADERS,
  name: 'ElectLeaders',
  versions: [0, 2],
  flexibleSince: 2,
  request: struct({
    electionType: int8.since(1),
    topicPartitions: array(struct({ topic: string, partitions: array(int32) })).nullable(),
    timeoutMs: int32.or(60000),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    errorCode: int16.since(1),
    replicaElectionResults: array(
      struct({
        topic: string,
        partitionResult: array(
          struct({ partitionId: int32, errorCode: int16, errorMessage: string.nullable().or(null) }),
        ),
      }),
    ),
  }),
})
