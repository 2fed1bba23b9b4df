/**
 * describe-cluster (60): the cluster as people and tools want to see it. One map, the same as HTTP `/api/v1/cluster`
 * gives; fields are added freely, so readers look for what they know.
 *
 * Versions  1
 */
import { Api, makeCodec } from './api.ts'

export interface ClusterDescription {
  readonly clusterId: string
  readonly controllerId: number
  readonly version: string
  readonly brokers: readonly {
    readonly nodeId: number
    readonly url: string
    readonly incarnation: number
    readonly profile?: string
    readonly version?: string
    readonly rack?: string | null
    /** It is about to stop, or its replicas go to others. */
    readonly isStopping?: boolean
    readonly isDecommissioned?: boolean
    /** Partitions that it leads, and replicas that it has. */
    readonly leads?: number
    readonly replicas?: number
    /** It did not answer: what is told of it is what the metadata store says. */
    readonly isSilent?: boolean
    /** Since the start: time the main thread was not waiting for events. */
    readonly mainBusyMicroseconds?: number
    readonly shards: readonly {
      readonly shard: number
      readonly state: 'starting' | 'serving' | 'failed' | 'stopped'
      readonly reason: string | null
      readonly partitions: number
      readonly offlinePartitions: number
      readonly stats: Readonly<Record<string, number>> | null
    }[]
  }[]
  readonly topics: number
  readonly partitions: number
  readonly offlinePartitions: number
  /** Of all topics: with fewer in sync than replicas, and without a leader. */
  readonly underReplicatedPartitions?: number
  readonly leaderlessPartitions?: number
  /** Partitions that are being moved. */
  readonly movingPartitions?: number
}

export type DescribeClusterRequest = Readonly<Record<never, never>>

export interface DescribeClusterReply {
  readonly cluster: ClusterDescription
}

export const describeCluster = makeCodec<DescribeClusterRequest, DescribeClusterReply>({
  api: Api.DESCRIBE_CLUSTER,
  name: 'describe-cluster',
  writeRequest: () => [],
  readRequest: () => ({}),
  writeReply: (reply) => [reply.cluster],
  readReply: (fields) => ({ cluster: fields.any() as ClusterDescription }),
})
