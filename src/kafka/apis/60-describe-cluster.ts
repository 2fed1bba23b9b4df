/**
 * DescribeCluster (60): the cluster's id, controller and brokers.
 *
 * Versions  0–2, flexible from 0. v1 asks for brokers (1) or controllers (2), v2 for fenced brokers too
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int8, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const describeCluster = new KafkaApi({
  key: KafkaKey.DESCRIBE_CLUSTER,
  name: 'DescribeCluster',
  versions: [0, 2],
  flexibleSince: 0,
  request: struct({
    includeClusterAuthorizedOperations: bool,
    endpointType: int8.since(1).or(1),
    includeFencedBrokers: bool.since(2),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    errorCode: int16,
    errorMessage: string.nullable().or(null),
    endpointType: int8.since(1).or(1),
    clusterId: string,
    controllerId: int32.or(-1),
    brokers: array(
      struct({ brokerId: int32, host: string, port: int32, rack: string.nullable(), isFenced: bool.since(2) }),
    ),
    clusterAuthorizedOperations: int32.or(-2147483648),
  }),
})
