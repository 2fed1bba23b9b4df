/** What a shard is told when it is made, with its defaults: plain data, goes through workerData. */
import { SCRUB_PERIOD_MS } from '../log/scrub.ts'

export interface ShardOptions {
  /** 0 … shards − 1. */
  readonly shard: number
  /** This start of the process; names the shard's files in state/. */
  readonly incarnation: number
  /** Made, locked and recovered already (workers/storage-task). */
  readonly dataDir: string
  /** Bytes of requests taken in one turn: how long a fetch or an acknowledgement may wait behind a write. */
  readonly drainBytesMax: number
  /** The newest bytes this shard wrote: read on the loop, because the system still has them in memory. */
  readonly residentBytes: number
  /** A commit group over more partitions goes to the journal. */
  readonly journalThresholdPartitions: number
  /** Both halves together; 0 = no journal: every group syncs segments. */
  readonly journalBytes: number
  /** Closed segments kept open while nobody reads them. */
  readonly openFilesMax: number
  readonly checkpointMs: number
  readonly checkpointBytes: number
  readonly waitingFetchesMax: number
  readonly waitingProducesMax: number
  /** Cold reads under way; each holds a page. */
  readonly coldReadsMax: number
  /** Free bytes of the disk below which produce is refused (R8). */
  readonly spaceLowBytes: number
  readonly spaceProbeBytes: number
  readonly spaceProbeMs: number
  readonly statsMs: number
  /** How often a partition's retention and its silent producers are looked at. */
  readonly retentionCheckMs: number
  /** A producer id that was silent so long is forgotten. */
  readonly producerExpiryMs: number
  /** A replica that has not had all of its leader's log for longer leaves the in-sync set. */
  readonly replicaLagMs: number
  /** Committed offsets of a group without members are kept so long. */
  readonly offsetsRetentionMs: number
  /** A classic group that begins waits so long for more members. */
  readonly initialRebalanceDelayMs: number
  /** The longest transaction timeout that a producer may ask for. */
  readonly transactionTimeoutMsMax: number
  /** A transactional id without a transaction is forgotten after so long. */
  readonly transactionalIdExpirationMs: number
  /** In this time every closed segment is read and checked once, in the background. */
  readonly scrubPeriodMs: number
  /** How often each compacted partition is looked at. */
  readonly compactionCheckMs: number
  /** Memory for the keys of one compaction, in the pool. */
  readonly compactionMemoryBytes: number
}

const MIB = 1024 * 1024

export const SHARD_DEFAULTS = {
  drainBytesMax: MIB / 4,
  residentBytes: 64 * MIB,
  journalThresholdPartitions: 1,
  journalBytes: 64 * MIB,
  openFilesMax: 256,
  checkpointMs: 10_000,
  checkpointBytes: 1024 * MIB,
  waitingFetchesMax: 100_000,
  waitingProducesMax: 100_000,
  coldReadsMax: 32,
  spaceLowBytes: 256 * MIB,
  spaceProbeBytes: 64 * MIB,
  spaceProbeMs: 1_000,
  statsMs: 1_000,
  retentionCheckMs: 30_000,
  producerExpiryMs: 86_400_000,
  replicaLagMs: 10_000,
  offsetsRetentionMs: 7 * 86_400_000,
  initialRebalanceDelayMs: 3_000,
  transactionTimeoutMsMax: 900_000,
  transactionalIdExpirationMs: 7 * 86_400_000,
  scrubPeriodMs: SCRUB_PERIOD_MS,
  compactionCheckMs: 15_000,
  compactionMemoryBytes: 64 * MIB,
} as const satisfies Partial<ShardOptions>
