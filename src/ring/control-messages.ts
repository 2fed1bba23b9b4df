/**
 * The cold messages of messages.ts: operations a gateway asks of a shard, their bodies and answers, and the notices a
 * shard sends by itself. Bodies are msgpack (records off, so any end can read any); types here, encoding in control-codec.ts.
 */
import type { LeaderEpoch, PartitionRef, TopicId } from '../model/ids.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import type { ReplicaIdentity, ReplicaRole } from '../model/replica.ts'
import type { TopicConfig } from '../model/topic-config.ts'
import type { TransactionQuery } from '../model/transaction-query.ts'

export const ControlOperation = {
  OPEN_PARTITIONS: 1,
  CLOSE_PARTITION: 2,
  DELETE_PARTITION: 3,
  UPDATE_CONFIG: 4,
  TRIM: 5,
  LIST_OFFSETS: 6,
  DESCRIBE_PARTITION: 7,
  CHECKPOINT: 8,
  STATS: 9,
  SHUTDOWN: 10,
  GROUP_REQUEST: 11,
  GROUP_TOPICS: 12,
  OFFSET_TIME: 13,
  TRANSACTION_REQUEST: 14,
  REGISTER_PRODUCERS: 15,
  WRITE_MARKERS: 16,
  MARKERS_DONE: 17,
  LOAD_TRANSACTIONS: 18,
  COMPACTED: 20,
  SET_REPLICAS: 21,
  SUSPEND_LEADER_ACKS: 22,
  OFFSET_FOR_LEADER_EPOCH: 23,
  DESCRIBE_PRODUCERS: 24,
  DESCRIBE_SIZES: 25,
} as const
export type ControlOperation = (typeof ControlOperation)[keyof typeof ControlOperation]

/**
 * A partition to serve. `recovered` is what recovery found (made by log/log-recovery in the pool; opaque to the gateway,
 * which only passes it on); null = the folder does not exist: a new partition, whose files appear at the first append.
 */
export interface OpenPartition {
  readonly partitionRef: PartitionRef
  readonly topicId: TopicId
  readonly partition: number
  /** Bumped at each start and each leader change; the shard appends under this epoch only. */
  readonly leaderEpoch: LeaderEpoch
  readonly config: TopicConfig
  /** A RecoveredPartition; null = it has no folder; 'set-aside' = no more: state/ still says what was in the one that was set aside. */
  readonly recovered: unknown
  /** Its part in the cluster; null = this broker is alone: it leads, under `leaderEpoch`. */
  readonly replicas: ReplicaRole | null
}

/** Answer SetReplicasAnswer. A version or an epoch below the known one is late: it changes nothing, and is answered the same. */
export interface SetReplicasBody extends ReplicaRole {
  readonly partitionRef: PartitionRef
}

export interface SetReplicasAnswer {
  readonly logEndOffset: number
  /** Of the last batch; -1 = there is none. */
  readonly lastEpoch: number
  readonly highWatermark: number
  readonly syncedEndOffset: number
}

/** The broker's lease may be over: partitions with other replicas take no produce with acks 0 or 1 while it is set. Answer {}. */
export interface SuspendLeaderAcksBody {
  readonly isSuspended: boolean
}

export interface OpenPartitionsBody {
  readonly partitions: readonly OpenPartition[]
}

export interface OpenPartitionsAnswer {
  /** Those that could not be opened, with the reason. The others serve. */
  readonly failed: readonly { readonly partitionRef: PartitionRef; readonly reason: string }[]
}

export interface ClosePartitionBody {
  readonly partitionRef: PartitionRef
}

export interface UpdateConfigBody {
  readonly partitionRef: PartitionRef
  readonly config: TopicConfig
}

export interface TrimBody {
  readonly partitionRef: PartitionRef
  /** New log start; -1 = the high watermark. */
  readonly beforeOffset: number
}

export interface TrimAnswer {
  readonly logStartOffset: number
}

/**
 * A request of groups for the coordinator in an internal partition: `api` and `header` are those of the native protocol, the answer is
 * the header of the reply, so that the gateway neither decodes nor encodes them. The shard appends what the coordinator decides,
 * and answers when that is durable. Not msgpack: group-codec.ts.
 */
export interface GroupRequestBody {
  readonly partitionRef: number
  readonly api: number
  readonly header: Uint8Array
  readonly clientId: string
  readonly clientHost: string
  readonly connectionId: number
  /** What its reader made of the header: kept here, for a heartbeat that is said again is the same object. */
  decoded: unknown
}

/** Topics that coordinators may assign: those that came or changed, and those that went. In line with what asks for them. */
export interface GroupTopicsBody {
  readonly upserted: readonly { readonly topicId: TopicId; readonly name: string; readonly partitions: number }[]
  readonly removed: readonly TopicId[]
}

/**
 * A request of transactions for the coordinator in a partition of the transaction topic; `api` and `header` as in GroupRequestBody.
 * `freshProducerId`: one that nobody has had, for a transactional id that is new or whose epochs are used up; -1 where none can be needed.
 * What txn-offset-commit adds, the group's partition of the offsets topic, is an add-partitions-to-txn here.
 */
export interface TransactionRequestBody {
  readonly partitionRef: PartitionRef
  readonly api: number
  readonly header: Uint8Array
  readonly freshProducerId: number
  /** What add-partitions-to-txn adds, in the place of those of the header: the gateway has looked them up. */
  readonly partitions: readonly { readonly topicId: TopicId; readonly partition: number }[]
  /** Of an init-producer-id in Kafka's protocol: the id and epoch that its sender has, -1 both = none. Its transactions are classic (X8). */
  readonly classic?: ProducerIdentity
  /** In the place of a request of the wire, api 0: the answer's bytes are a page of it, by encodeControlBody. */
  readonly query?: TransactionQuery
}

/** These producers may begin a transaction in these partitions: their coordinator knows, durably. Answer {}. */
export interface RegisterProducersBody {
  readonly producerId: number
  readonly producerEpoch: number
  readonly partitionRefs: readonly PartitionRef[]
}

/** One marker for one partition (src/transaction/README.md, X1, X7 to X9). */
export interface MarkerToWrite {
  readonly partitionRef: PartitionRef
  readonly producerId: number
  /** Of the marker. */
  readonly producerEpoch: number
  readonly coordinatorEpoch: number
  readonly isCommit: boolean
  readonly isClassic: boolean
}

export interface WriteMarkersBody {
  readonly markers: readonly MarkerToWrite[]
}

/** When all are durable or have failed: an error number each, 0 = it is in the log. */
export interface WriteMarkersAnswer {
  readonly errorNumbers: readonly number[]
}

/** A transaction whose markers are to be written. */
export interface MarkersRow {
  readonly transactionalId: string
  readonly producerId: number
  readonly producerEpoch: number
  readonly coordinatorEpoch: number
  readonly isCommit: boolean
  readonly isClassic: boolean
  readonly partitions: readonly { readonly topicId: TopicId; readonly partition: number }[]
}

/** Have the coordinator of this partition loaded: open transactions have timeouts whether anybody asks or not. Answer {}. */
export interface LoadTransactionsBody {
  readonly partitionRef: PartitionRef
}

/** What became of a notice 'write-markers'. Answer {}. */
export interface MarkersDoneBody {
  /** Of the coordinator. */
  readonly partitionRef: PartitionRef
  readonly rows: readonly {
    readonly transactionalId: string
    readonly producerId: number
    readonly producerEpoch: number
    /** Those that have their marker, or are gone; the others are to be tried again. */
    readonly done: readonly { readonly topicId: TopicId; readonly partition: number }[]
    /** Why the first of the others failed; '' = none did. */
    readonly fault: string
  }[]
}

/** What became of a notice 'compact'. */
export interface CompactedBody {
  readonly partitionRef: number
  /** Opaque to the gateway: the pool's answer (log/compaction-run: CompactionResult); null with a fault. */
  readonly result: unknown
  /** Why nothing was compacted. */
  readonly fault: string | null
}

/** `timestampMs`: -1 latest (HW, or LSO with read_committed), -2 earliest, -3 record of the largest timestamp, else first at or after it. */
export interface ListOffsetsBody {
  readonly partitionRef: PartitionRef
  readonly timestampMs: number
  readonly isolation: 0 | 1
}

/** The time of the record at `offset`, or of the first one after it: a ListOffsetsAnswer. */
export interface OffsetTimeBody {
  readonly partitionRef: PartitionRef
  readonly offset: number
}

/** `offset` -1 when no record is at or after the time. */
export interface ListOffsetsAnswer {
  readonly offset: number
  readonly timestampMs: number
  readonly leaderEpoch: number
}

/** Where `leaderEpoch` ended, as the leader has it (KIP-101): an OffsetForLeaderEpochAnswer. `currentLeaderEpoch` -1 = not checked. */
export interface OffsetForLeaderEpochBody {
  readonly partitionRef: PartitionRef
  readonly leaderEpoch: number
  readonly currentLeaderEpoch?: number
}

/** The largest epoch that is not above the one asked for, and the offset where it ended; both -1 where that is newer than the leader's. */
export interface OffsetForLeaderEpochAnswer {
  readonly leaderEpoch: number
  readonly endOffset: number
}

/** The producers that the leader of a partition knows: those behind `after`, by producer id. -1 = from the first. */
export interface DescribeProducersBody {
  readonly partitionRef: PartitionRef
  readonly after: number
}

export interface DescribeProducersAnswer {
  readonly producers: readonly PartitionProducer[]
  /** What the next page begins after; null = there is no more. */
  readonly nextAfter: number | null
}

export interface PartitionProducer {
  readonly producerId: number
  readonly producerEpoch: number
  /** -1 = it has written nothing in this epoch that has one. */
  readonly lastSequence: number
  /** Of its last batch that has a sequence; else when it was heard of last. */
  readonly lastTimestampMs: number
  /** Of the coordinator that wrote its last marker; -1 = none. */
  readonly coordinatorEpoch: number
  /** -1 = no transaction is open. */
  readonly currentTxnStartOffset: number
}

/** Bytes of the logs of this shard's partitions: of those whose ref is larger than `after`; -1 = from the first. */
export interface DescribeSizesBody {
  readonly after: number
}

export interface DescribeSizesAnswer {
  /** Ref and bytes in turn, refs ascending. */
  readonly refsAndBytes: readonly number[]
  /** What the next page begins after; null = there is no more. */
  readonly nextAfter: number | null
}

export interface DescribePartitionAnswer {
  readonly logStartOffset: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly logEndOffset: number
  readonly syncedEndOffset: number
  readonly bytes: number
  readonly segments: number
  readonly leaderEpoch: number
  readonly offline: string | null
  /** Share of the closed bytes that were never compacted; -1 for a topic that is not compacted. */
  readonly dirtyRatio: number
  readonly role: 'leader' | 'follower' | 'offline'
  /** Node ids, this one included; of a leader, or as a follower was last told. Empty where the broker is alone. */
  readonly inSync: readonly number[]
  /** What a leader knows of the other replicas; -1 = nothing yet. */
  readonly remotes: readonly RemoteReplicaEnds[]
}

export interface RemoteReplicaEnds {
  readonly nodeId: number
  readonly incarnation: number
  readonly logEndOffset: number
  readonly syncedEndOffset: number
  /** Time since it last had all that the leader had, ms; Infinity = never under this leader. */
  readonly lagMs: number
}

export interface ShardStats {
  readonly partitions: number
  readonly offlinePartitions: number
  readonly appendedRecords: number
  readonly appendedBytes: number
  /** Batches that came again and were answered as the first time. */
  readonly duplicateBatches: number
  readonly fetchedBytes: number
  readonly syncs: number
  readonly syncMicroseconds: number
  readonly journalBytes: number
  readonly waitingFetches: number
  readonly waitingProduces: number
  readonly pagesInUse: number
  readonly pages: number
  readonly turns: number
  readonly busyMicroseconds: number
  readonly heapBytes: number
  /** Bytes of closed segments that were checked in the background, and what was found wrong. */
  readonly scrubbedBytes: number
  readonly scrubFindings: number
  /** Compactions that ended well, and that failed; bytes that they freed; time from asking the pool to its answer. */
  readonly compactions: number
  /** 1 while the pool works for this shard, or is asked to. */
  readonly compactionsRunning: number
  readonly compactionFailures: number
  readonly compactionReclaimedBytes: number
  readonly compactionMicroseconds: number
  /** Of the coordinators of this shard: ids known; transactions open, and decided without all of their markers. */
  readonly transactionalIds: number
  readonly coordinatedOpen: number
  readonly coordinatedEnding: number
  /** Committed, and aborted, since the start; of the latter by their timeout. */
  readonly coordinatedCommits: number
  readonly coordinatedAborts: number
  readonly transactionTimeouts: number
  /** Transactions that are open; how long one has been the earliest of its partition; those that were aborted since the start. */
  readonly openTransactions: number
  readonly oldestTransactionMicroseconds: number
  readonly abortedTransactions: number
}

/** What a shard says by itself. Extend by adding a kind; the gateway logs a kind that it does not know. */
export type Notice =
  | { readonly kind: 'log'; readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly text: string }
  | { readonly kind: 'partition-offline'; readonly partitionRef: number; readonly reason: string }
  /** The whole shard stopped serving; fatal = a storage fault that may concern the data dir. */
  | { readonly kind: 'shard-failed'; readonly reason: string; readonly storage: boolean }
  | {
      readonly kind: 'produce-failed'
      readonly partitionRef: number
      readonly errorNumber: number
      readonly text: string
    }
  /** Members that should send a heartbeat at once, and by which connections they are told. */
  | {
      readonly kind: 'group-changed'
      readonly members: readonly { readonly connectionId: number; readonly memberId: string }[]
    }
  | { readonly kind: 'stats'; readonly stats: ShardStats }
  /** Have the pool run `task` (log/compaction-run: SeededCompactionTask); answer COMPACTED, once. */
  | { readonly kind: 'compact'; readonly partitionRef: number; readonly task: unknown }
  /** Have these markers written; answer MARKERS_DONE, once, with a row for each. `partitionRef` is the coordinator's. */
  | { readonly kind: 'write-markers'; readonly partitionRef: PartitionRef; readonly rows: readonly MarkersRow[] }
  /** The in-sync set that a leader wants: write it to the store, under `version`, and tell the outcome by SET_REPLICAS. */
  | {
      readonly kind: 'in-sync-wish'
      readonly partitionRef: PartitionRef
      readonly leaderEpoch: number
      readonly version: number
      readonly inSync: readonly ReplicaIdentity[]
      /** It would rather have another leader: those whom it does not hear would be enough without it. */
      readonly isCutOff: boolean
    }
  | { readonly kind: 'disk-low'; readonly freeBytes: number; readonly low: boolean }
