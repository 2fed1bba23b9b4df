/** HandlerContext: what handlers may ask of the broker. The gateway is one; handlers do not know it, so that no circle comes about. */
import type { Clock } from '../../base/clock.ts'
import type { BrokerConfig } from '../../config/index.ts'
import type { ClusterIdentity } from '../../coordination/cluster-identity.ts'
import type { ClusterDescription, MetadataBroker } from '../../protocol/index.ts'
import type { MetricsPort } from '../../telemetry/metrics.ts'
import type { ClusterAgent } from '../cluster/cluster-agent.ts'
import type { ConnectionPool } from '../connection.ts'
import type { Deadlines } from '../deadlines.ts'
import type { GroupService } from '../group-service.ts'
import type { PartitionProxy, PartitionRouter } from '../partition-router.ts'
import type { Users } from '../sasl/users.ts'
import type { ShardLink } from '../shard-link.ts'
import type { TopicAdmin } from '../topic-admin.ts'
import type { TransactionService } from '../transaction-service.ts'

export interface HandlerContext {
  readonly config: BrokerConfig
  readonly identity: ClusterIdentity
  readonly router: PartitionRouter
  readonly links: readonly ShardLink[]
  readonly pool: ConnectionPool
  readonly topicService: TopicAdmin
  readonly groups: GroupService
  readonly transactions: TransactionService
  readonly users: Users
  readonly clock: Clock
  readonly metrics: MetricsPort
  readonly deadlines: Deadlines
  /** Undefined where the broker is alone. */
  readonly cluster: ClusterAgent | undefined
  /** Where clients are told to connect. */
  readonly advertisedUrl: string
  /** The brokers of the cluster that are there now; alone, this one. */
  liveBrokers(): readonly MetadataBroker[]
  /** -1 = none now. Alone, this broker controls. */
  readonly controllerId: number
  /** Who leads the partition now and where clients reach it; undefined = nobody, or nobody known. Alone, this broker leads all that is not offline. */
  leaderOf(partition: PartitionProxy): { readonly nodeId: number; readonly url: string } | undefined
  /** This broker follows the partition, is in sync by what the store says, and its lease is not over. Never where it is alone. */
  mayReadAsFollower(partition: PartitionProxy): boolean
  /** Nothing new is begun. */
  readonly isClosing: boolean
  /** A partition that serves, and its shard; throws MillraceError otherwise. */
  servingPartition(topicId: string, number: number): { partition: PartitionProxy; link: ShardLink }
  /** Throws MillraceError unless `leaderEpoch` is -1 or the partition's. */
  checkLeaderEpoch(partition: PartitionProxy, leaderEpoch: number): void
  /** A producer id that nobody has had. */
  nextProducerId(): Promise<number>
  /** `isAlone`: of this broker only. */
  describeCluster(isAlone?: boolean): Promise<ClusterDescription>
  /** A produce without acknowledgement was refused: nobody hears of it but the metrics. */
  onRefusedWithoutReply(code: string): void
}
