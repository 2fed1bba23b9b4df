/**
 * ShardAgent: one shard: the turn that drains its rings, writes, has it synced, answers.
 *
 * Owns        the shard's partitions, page cache, journal, synced ends; the shard's ends of its rings
 * Thread      its own, or whoever steps it; nothing in a turn waits for the device or for another thread
 * Ordering    a turn: late answers out -> disk answers -> next sync, if something was written meanwhile -> deadlines -> fetches
 *             -> publish: what is due by now does not wait for the writes -> up to drainBytesMax of requests -> one vectored
 *             write a partition -> answers or parking -> ring space back -> next sync -> publish
 * Limits      no request is taken while an answer waits for the reply ring, or while waitingProducesMax producers wait; with replicas
 *             elsewhere produces are refused instead: what lies behind them may be what those of another broker wait for
 * Failure     a failed sync, or a failed write for another reason than space: every partition goes offline with the reason, the
 *             gateway is told, nothing is synced again (R3). A broken invariant throws: the thread ends
 * Not here    what a step does: *-handler.ts, group-commit.ts, checkpointer.ts …; what a partition may: partition/
 */
import type { Agent } from '../agent/agent.ts'
import type { Clock } from '../base/clock.ts'
import type { Prng } from '../base/prng.ts'
import type { GroupCoordinatorOptions } from '../group/index.ts'
import { type FileSystem, StorageError } from '../io/file-system.ts'
import { CommitJournal } from '../log/commit-journal.ts'
import { STATE_FOLDER } from '../log/data-dir.ts'
import { createLogContext } from '../log/log-context.ts'
import { SyncedEndsFile } from '../log/synced-ends-file.ts'
import type { ReplicaIdentity } from '../model/replica.ts'
import { advanceHighWatermark } from '../partition/high-watermark.ts'
import { checkKnownEpoch, checkLeads } from '../partition/partition-fetch.ts'
import { goOffline } from '../partition/partition-state.ts'
import { hear, isReplicated } from '../partition/replica-set.ts'
import { type Codecs, NO_CODECS } from '../record/compression.ts'
import { readControl } from '../ring/control-codec.ts'
import {
  type CompactedBody,
  ControlOperation,
  type GroupTopicsBody,
  type LoadTransactionsBody,
  type MarkersDoneBody,
  type RegisterProducersBody,
  type ShardStats,
  type TransactionRequestBody,
  type WriteMarkersBody,
} from '../ring/control-messages.ts'
import { controlRequestId, GroupRequestReader } from '../ring/group-codec.ts'
import { CONTROL_OPERATION_AT, FETCH_REQUEST_ID_AT, MessageType } from '../ring/messages.ts'
import type { ShardSide } from '../ring/shard-channel.ts'
import { Checkpointer } from './checkpointer.ts'
import { CompactionJob } from './compaction-job.ts'
import { ControlHandler, type ShardEffects } from './control-handler.ts'
import { ControlReplies } from './control-replies.ts'
import { DiskProxy, type ReadListener } from './disk-proxy.ts'
import { type DraftPart, historyOf } from './fetch-draft.ts'
import { FetchHandler } from './fetch-handler.ts'
import { GroupCommit } from './group-commit.ts'
import { GroupHost } from './group-host.ts'
import { Housekeeper } from './housekeeper.ts'
import { IntervalFlush } from './interval-flush.ts'
import { LogCut } from './log-cut.ts'
import { MarkerWriter } from './marker-writer.ts'
import { NoticeSender } from './notice-sender.ts'
import { PageCache } from './page-cache.ts'
import type { PartitionAgent } from './partition-agent.ts'
import { PartitionTable } from './partition-table.ts'
import { ProduceHandler, type WriteListener } from './produce-handler.ts'
import { ProduceReplies } from './produce-replies.ts'
import { RemovalQueue } from './removal-queue.ts'
import { type ReplicaEffects, ReplicaHandler } from './replica-handler.ts'
import { ReplyOutbox } from './reply-outbox.ts'
import { ResidentWindow } from './resident-window.ts'
import { ScrubJob } from './scrub-job.ts'
import { SegmentReader } from './segment-reader.ts'
import type { ShardOptions } from './shard-options.ts'
import { SpaceProbe } from './space-probe.ts'
import { SyncScheduler } from './sync-scheduler.ts'
import { TransactionHost } from './transaction-host.ts'
import { TransactionWatch } from './transaction-watch.ts'

export interface ShardAgentOptions {
  readonly options: ShardOptions
  readonly side: ShardSide
  readonly files: FileSystem
  readonly clock: Clock
  readonly prng: Prng
  readonly codecs?: Codecs
  /** What group coordinators need from outside; without it they serve no patterns, and member ids come from `prng`. */
  readonly groups?: Partial<Pick<GroupCoordinatorOptions, 'compilePattern' | 'newMemberId'>>
  /** Heap in use, bytes; a gauge of the stats. */
  readonly heapBytes?: () => number
}

const PARTITIONS_MAX = 1_000_000
/** Fetches taken from the read ring in one turn. */
const READS_PER_TURN = 64

export class ShardAgent implements Agent, WriteListener, ReadListener, ShardEffects, ReplicaEffects {
  readonly name: string
  isDone = false
  readonly #options: ShardOptions
  readonly #side: ShardSide
  readonly #clock: Clock
  readonly #heapBytes: () => number
  readonly #partitions = new PartitionTable()
  readonly #outbox: ReplyOutbox
  readonly #notices: NoticeSender
  readonly #disk: DiskProxy
  readonly #cache: PageCache
  readonly #journal: CommitJournal | undefined
  readonly #syncedEnds: SyncedEndsFile
  readonly #group: GroupCommit
  readonly #interval: IntervalFlush
  readonly #checkpointer: Checkpointer
  readonly #scheduler: SyncScheduler
  readonly #replies: ProduceReplies
  readonly #produces: ProduceHandler
  readonly #fetches: FetchHandler
  readonly #control: ControlHandler
  readonly #cuts: LogCut
  readonly #replicas: ReplicaHandler
  readonly #groups: GroupHost
  readonly #transactionHost: TransactionHost
  readonly #markers: MarkerWriter
  readonly #transactions = new TransactionWatch()
  readonly #groupRequests: GroupRequestReader
  readonly #space: SpaceProbe
  readonly #housekeeper: Housekeeper
  readonly #removals: RemovalQueue
  readonly #scrub: ScrubJob
  readonly #compaction: CompactionJob
  readonly #groupWritten: PartitionAgent[] = []
  #failure: string | undefined
  #shutdown: 'none' | 'draining' | 'checkpoint' | 'answered' = 'none'
  #shutdownDone: ((fault: string | undefined) => void) | undefined
  #nextStatsMs: number
  #turns = 0
  #busyMs = 0

  constructor(from: ShardAgentOptions) {
    const { options, side, files, clock } = from
    const { shard, incarnation, dataDir } = options
    this.name = `shard ${shard}`
    this.#options = options
    this.#side = side
    this.#clock = clock
    this.#heapBytes = from.heapBytes ?? (() => 0)
    this.#nextStatsMs = clock.monotonicMs() + options.statsMs
    const partitions = this.#partitions
    const folder = `${dataDir}/${STATE_FOLDER}`
    const requests = side.requests
    const onSynced = (partition: PartitionAgent) => this.progress(partition)

    this.#outbox = new ReplyOutbox(side.replies, side.doorbell)
    this.#notices = new NoticeSender(this.#outbox)
    this.#disk = new DiskProxy(side, this, Math.min(options.coldReadsMax, Math.max(1, side.pages.pageCount >> 2)))
    this.#cache = new PageCache(side.pages)
    const context = createLogContext({ files, clock, dataDir, filesOpenMax: options.openFilesMax })
    const key = { high: from.prng.uint32(), low: from.prng.uint32() }
    this.#journal =
      options.journalBytes === 0
        ? undefined
        : CommitJournal.create({ files, folder, incarnation, shard, bytes: options.journalBytes, key })
    this.#syncedEnds = SyncedEndsFile.create({ files, folder, incarnation, shard })
    const journal = this.#journal
    const syncedEnds = this.#syncedEnds
    const { journalThresholdPartitions, checkpointMs, checkpointBytes } = options
    this.#group = new GroupCommit({ journal, syncedEnds, journalThresholdPartitions, onSynced })
    this.#interval = new IntervalFlush({ partitionsMax: PARTITIONS_MAX, syncedEnds, onSynced })
    this.#checkpointer = new Checkpointer({
      ...{ files, clock, stateFolder: folder, incarnation, shard, partitions, journal, syncedEnds },
      ...{ checkpointMs, checkpointBytes, onSynced },
      onCheckpointed: (all) => this.#onCheckpointed(all),
      onGivenUp: (reason) => this.#notices.log('warn', `the checkpoint was given up: ${reason}`),
    })
    this.#scheduler = new SyncScheduler({
      disk: this.#disk,
      group: this.#group,
      background: [this.#checkpointer, this.#interval],
      onFailed: (reason) => this.#fail(reason),
    })
    this.#replies = new ProduceReplies({
      ...{ outbox: this.#outbox, notices: this.#notices, clock, waitingMax: options.waitingProducesMax },
    })
    this.#space = new SpaceProbe({
      ...{ files, clock, dataDir, lowBytes: options.spaceLowBytes },
      ...{ probeBytes: options.spaceProbeBytes, probeMs: options.spaceProbeMs },
      onChange: (low, freeBytes) => this.#notices.send({ kind: 'disk-low', freeBytes, low }),
    })
    const resident = new ResidentWindow(options.residentBytes)
    const cache = this.#cache
    const reader = new SegmentReader({ files, cache, disk: this.#disk, resident })
    const replies = this.#replies
    const onUnreadable = (partition: PartitionAgent, reason: string) => this.takeOffline(partition, reason)
    this.#produces = new ProduceHandler({
      ...{ requests, partitions, replies, resident, space: this.#space, clock, onUnreadable },
      codecs: from.codecs ?? NO_CODECS,
    })
    this.#fetches = new FetchHandler({
      ...{ reads: side.reads, partitions, reader, cache, outbox: this.#outbox, clock },
      waitingFetchesMax: options.waitingFetchesMax,
      onUnreadable,
      onReplicaFetch: (part, replica) => this.#onReplicaFetch(part, replica),
      mayBeLedElsewhere: (partition) => this.#replicas.mayBeLedElsewhere(partition),
    })
    const controlReplies = new ControlReplies(this.#outbox)
    this.#cuts = new LogCut({ journal, syncedEnds, group: this.#group, checkpointer: this.#checkpointer, cache })
    this.#replicas = new ReplicaHandler({
      ...{ requests, reads: side.reads, partitions, produces: this.#produces, produceReplies: replies, clock },
      replies: controlReplies,
      ...{ outbox: this.#outbox, notices: this.#notices, cuts: this.#cuts, effects: this },
      lagMsMax: options.replicaLagMs,
    })
    this.#control = new ControlHandler({
      ...{ requests, replies: controlReplies, clock, context, partitions, syncedEnds, reader, cache, effects: this },
      checkpointer: this.#checkpointer,
      codecs: from.codecs ?? NO_CODECS,
    })
    this.#groupRequests = new GroupRequestReader(requests)
    const hosting = {
      ...{ partitions, produces: this.#produces, replies: controlReplies, notices: this.#notices },
      ...{ reader, cache, clock, codecs: from.codecs ?? NO_CODECS },
      mayBeLedElsewhere: (partition: PartitionAgent) => this.#replicas.mayBeLedElsewhere(partition),
    }
    this.#groups = new GroupHost({
      ...hosting,
      coordinator: {
        wallClock: clock,
        newMemberId: () => memberId(from.prng),
        compilePattern: () => ({ fault: 'patterns are not served here' }),
        config: {
          offsetsRetentionMs: options.offsetsRetentionMs,
          initialRebalanceDelayMs: options.initialRebalanceDelayMs,
        },
        ...from.groups,
      },
    })
    this.#transactionHost = new TransactionHost({
      ...hosting,
      config: {
        timeoutMsMax: options.transactionTimeoutMsMax,
        idExpirationMs: options.transactionalIdExpirationMs,
      },
    })
    this.#markers = new MarkerWriter({
      ...{ partitions, produces: this.#produces, replies: controlReplies, listener: this.#groups.host },
    })
    this.#housekeeper = new Housekeeper({
      ...{ clock, partitions, periodMs: options.retentionCheckMs, producerExpiryMs: options.producerExpiryMs },
      onCondemned: (partition, text) =>
        this.#notices.log('info', `${partition.topicId}-${partition.partition}: ${text}`),
    })
    this.#scrub = new ScrubJob({
      ...{ partitions, cache, disk: this.#disk, periodMs: options.scrubPeriodMs, onFinding: onUnreadable },
    })
    this.#compaction = new CompactionJob({
      ...{ clock, partitions, checkpointer: this.#checkpointer, notices: this.#notices, prng: from.prng },
      ...{ periodMs: options.compactionCheckMs, memoryBytesMax: options.compactionMemoryBytes },
    })
    this.#removals = new RemovalQueue(files, (text) => this.#notices.log('warn', text))
  }

  doWork(): number {
    const startMs = this.#clock.monotonicMs()
    let work = 1
    try {
      work = this.#turn(startMs)
    } catch (error) {
      // Whatever may fail and be lived with is handled where it happens: what comes here is not.
      if (!(error instanceof StorageError)) throw error
      this.#fail(`${error.code}: ${error.message}`)
    }
    this.#publish()
    if (work > 0) {
      this.#turns++
      this.#busyMs += this.#clock.monotonicMs() - startMs
    }
    return work
  }

  #turn(nowMs: number): number {
    let work = this.#outbox.drain() + this.#disk.drain()
    if (this.#failure === undefined) work += this.#scheduler.step(nowMs)
    work += this.#replies.expire(nowMs) + this.#drainReads() + this.#fetches.step(nowMs)
    this.#publish()
    if (this.#failure === undefined) work += this.#groups.host.step(nowMs) + this.#transactionHost.step(nowMs)
    work += this.#drainRequests()
    work += this.#control.step() + this.#housekeep(nowMs)
    if (this.#failure === undefined) work += this.#cuts.step() + this.#replicas.step(nowMs)
    if (this.#failure === undefined) work += this.#scheduler.step(nowMs)
    return work + this.#transactionHost.sendMarkers() + this.#stepShutdown()
  }

  deadlineMs(): number {
    const nowMs = this.#clock.monotonicMs()
    if (!this.#outbox.isClear || this.#control.pending > 0 || this.#cuts.isPolling) return nowMs + 1
    const nextMs = Math.min(this.#fetches.deadlineMs(nowMs), this.#replies.nextDeadlineMs, this.#nextStatsMs)
    // A timer that no turn would serve must not keep the loop from sleeping.
    if (this.#failure !== undefined) return nextMs
    const coordinatorsMs = Math.min(this.#groups.host.nextDeadlineMs(), this.#transactionHost.nextDeadlineOfAllMs())
    const spaceMs = this.#space.isLow ? this.#space.nextProbeMs : Number.POSITIVE_INFINITY
    const scrubMs = this.#mayScrub ? this.#scrub.nextDeadlineMs : Number.POSITIVE_INFINITY
    const compactionMs = this.#shutdown === 'none' ? this.#compaction.nextDeadlineMs : Number.POSITIVE_INFINITY
    const housekeepMs = Math.min(this.#housekeeper.nextDeadlineMs, compactionMs, this.#replicas.nextDeadlineMs)
    return Math.min(nextMs, coordinatorsMs, this.#syncDeadlineMs(), housekeepMs, spaceMs, scrubMs)
  }

  /** While a sync is under way its answer wakes the shard; what is due meanwhile waits for it. */
  #syncDeadlineMs(): number {
    if (!this.#scheduler.isIdle) return Number.POSITIVE_INFINITY
    return Math.min(this.#interval.nextDeadlineMs, this.#checkpointer.nextDeadlineMs)
  }

  close(): void {
    this.isDone = true
  }

  // The turn's parts

  #publish(): void {
    this.#replicas.tellSynced()
    this.#disk.publish()
    this.#outbox.publish()
  }

  #drainReads(): number {
    const { reads, doorbell } = this.#side
    let taken = 0
    while (taken < READS_PER_TURN && this.#outbox.isClear && reads.next()) {
      taken++
      this.#onReadRequest()
    }
    if (taken > 0 && reads.release()) doorbell.ring()
    return taken
  }

  #onReadRequest(): void {
    const { reads } = this.#side
    switch (reads.type) {
      case MessageType.FETCH:
        this.#fetches.onFetch()
        return
      case MessageType.REPLICA_PROGRESS:
        this.#replicas.onProgress()
        return
      case MessageType.FETCH_FINISH:
        this.#fetches.onEnd(reads.view.getUint32(reads.at + FETCH_REQUEST_ID_AT, true), false)
        return
      case MessageType.FETCH_CANCEL:
        this.#fetches.onEnd(reads.view.getUint32(reads.at + FETCH_REQUEST_ID_AT, true), true)
        return
      default:
        this.#onUnknown(reads.type)
    }
  }

  #drainRequests(): number {
    const { requests, doorbell } = this.#side
    const { drainBytesMax, waitingProducesMax } = this.#options
    let taken = 0
    let takenBytes = 0
    while (takenBytes < drainBytesMax && this.#outbox.isClear) {
      const waiting = this.#replies.waiting + taken + this.#produces.ownStaged
      // Where there are replicas others may wait for what lies behind: produces are refused then (ProduceReplies.isFull).
      if ((waiting >= waitingProducesMax && !this.#replicas.isActive) || !requests.next()) break
      taken++
      takenBytes += requests.length
      this.#onRequest()
    }
    if (taken === 0 && !this.#groups.host.hasPending && !this.#transactionHost.host.hasPending) return 0
    this.writeTurn()
    if (taken > 0 && requests.release()) doorbell.ring()
    return taken
  }

  /** What coordinators decided and clients produced, as one write a partition. */
  writeTurn(): void {
    this.#groups.host.flush()
    this.#transactionHost.host.flush()
    this.#produces.writeTouched(this)
  }

  #onRequest(): void {
    const { requests } = this.#side
    switch (requests.type) {
      case MessageType.PRODUCE:
        this.#produces.onProduce()
        return
      case MessageType.CONTROL:
        this.#onControl()
        return
      case MessageType.REPLICA_APPEND:
        this.#replicas.onAppend()
        return
      default:
        this.#onUnknown(requests.type)
    }
  }

  #onControl(): void {
    const { requests } = this.#side
    switch (requests.view.getInt32(requests.at + CONTROL_OPERATION_AT, true)) {
      case ControlOperation.GROUP_REQUEST: {
        // Many in a turn: their records are written together, with the turn's batches.
        this.#groups.host.onRequest(controlRequestId(requests), this.#groupRequests.read())
        return
      }
      case ControlOperation.GROUP_TOPICS: {
        const { requestId, body } = readControl(requests)
        this.#groups.onTopics(requestId, body as GroupTopicsBody)
        return
      }
      case ControlOperation.TRANSACTION_REQUEST: {
        const { requestId, body } = readControl(requests)
        this.#transactionHost.host.onRequest(requestId, body as TransactionRequestBody)
        return
      }
      case ControlOperation.MARKERS_DONE: {
        const { requestId, body } = readControl(requests)
        this.#transactionHost.onMarkersDone(requestId, body as MarkersDoneBody)
        return
      }
      case ControlOperation.LOAD_TRANSACTIONS: {
        const { requestId, body } = readControl(requests)
        this.#transactionHost.onLoad(requestId, (body as LoadTransactionsBody).partitionRef)
        return
      }
      case ControlOperation.REGISTER_PRODUCERS: {
        const { requestId, body } = readControl(requests)
        this.#markers.onRegister(requestId, body as RegisterProducersBody)
        return
      }
      case ControlOperation.WRITE_MARKERS: {
        const { requestId, body } = readControl(requests)
        // What groups have decided in the name of a producer comes before the marker that ends it.
        this.#groups.host.flush()
        this.#markers.onWrite(requestId, body as WriteMarkersBody)
        return
      }
      case ControlOperation.SET_REPLICAS:
        this.writeTurn()
        this.#replicas.onSetReplicas()
        return
      case ControlOperation.SUSPEND_LEADER_ACKS:
        this.writeTurn()
        this.#replicas.onSuspend()
        return
      default:
        this.writeTurn()
        this.#control.onControl()
    }
  }

  #onUnknown(type: number): void {
    this.#notices.log('error', `a message of type ${type} came in a ring that does not carry it`)
  }

  #housekeep(nowMs: number): number {
    if (nowMs >= this.#nextStatsMs) {
      this.#nextStatsMs = nowMs + this.#options.statsMs
      this.#notices.send({ kind: 'stats', stats: this.stats() })
    }
    if (this.#failure !== undefined) return 0
    this.#space.step(nowMs)
    const isCompacting = this.#shutdown === 'none' && this.#compaction.step(nowMs)
    const kept = (this.#housekeeper.step(nowMs) ? 1 : 0) + (this.#removals.step() ? 1 : 0) + (isCompacting ? 1 : 0)
    return kept + (this.#mayScrub && this.#scrub.step(nowMs) ? 1 : 0)
  }

  /** Fetches that wait have their own deadlines and wake-ups. */
  get #mayScrub(): boolean {
    return this.#shutdown === 'none' && !this.#fetches.wantsPages
  }

  // WriteListener

  onWritten(partitions: readonly PartitionAgent[]): void {
    this.#groupWritten.length = 0
    const nowMs = this.#clock.monotonicMs()
    for (const partition of partitions) {
      this.#checkpointer.onWritten(partition.stagedBytes)
      const isGroup = partition.state.config.fsync === 'group'
      if (!isGroup) this.#interval.onWritten(partition, nowMs)
      if (isGroup || partition.hasStagedOwn) this.#groupWritten.push(partition)
      if (!isGroup) this.progress(partition)
      if (isReplicated(partition.state.replicas)) this.#fetches.onAppended(partition)
    }
    if (this.#groupWritten.length === 0) return
    try {
      this.#group.onWritten(this.#groupWritten)
    } catch (error) {
      // Caught here, so that the produces of this turn are refused like all others.
      if (!(error instanceof StorageError)) throw error
      this.#fail(`the journal could not be written: ${error.code}: ${error.message}`)
    }
  }

  onSyncWanted(partition: PartitionAgent): void {
    // With fsync: group what is not synced is in a group already.
    if (partition.hasUnsyncedInterval) this.#group.join(partition)
  }

  onWriteFailed(reason: string): void {
    this.#fail(reason)
  }

  onOpenLimit(): void {
    // A checkpoint closes the active segments of idle partitions.
    this.#checkpointer.ask()
  }

  // ReadListener

  onRead(page: number, bytesRead: number, code: string): void {
    if (this.#scrub.onRead(page, bytesRead, code, this.#clock.monotonicMs())) return
    const cached = this.#cache.pageOf(page)
    const load = cached.load!
    const { partition } = load
    partition.readsInFlight--
    partition.log.releaseFd(load.fd)
    if (bytesRead > 0) cached.filledBytes += bytesRead
    if (bytesRead < load.bytes && !cached.file.isDropped)
      this.takeOffline(partition, code === '' ? 'a segment is shorter than it was' : `a read failed: ${code}`)
    this.#cache.endLoading(cached)
    this.#fetches.onLoaded(cached)
  }

  // ShardEffects

  progress(partition: PartitionAgent): void {
    if (partition.state.role === 'follower') {
      this.#replicas.onFollowerSynced(partition)
      return
    }
    const isVisible = advanceHighWatermark(partition.state)
    this.#replies.acknowledgeDue(partition)
    if (isVisible) this.#fetches.onVisible(partition)
  }

  visible(partition: PartitionAgent): void {
    this.#fetches.onVisible(partition)
  }

  retire(partition: PartitionAgent): void {
    this.#forgetCoordinators(partition)
    this.#replies.refuseAll(partition, 'NOT_LEADER_OR_FOLLOWER', '')
    this.#fetches.onGone(partition)
    if (partition.isClosed || partition.isEnding) this.#replicas.forget(partition)
    if (partition.isClosed) {
      this.#group.forget(partition)
      this.#interval.forget(partition)
      this.#checkpointer.forget(partition)
    }
  }

  renew(partition: PartitionAgent): void {
    this.#forgetCoordinators(partition)
    this.#fetches.onGone(partition)
  }

  doubt(partition: PartitionAgent): void {
    this.#fetches.onDoubted(partition)
  }

  takeOffline(partition: PartitionAgent, reason: string): void {
    if (partition.state.role === 'offline') return
    goOffline(partition.state, reason)
    this.#replies.refuseAll(partition, 'KAFKA_STORAGE_ERROR', reason)
    this.#forgetCoordinators(partition)
    this.#fetches.onGone(partition)
    this.#notices.send({ kind: 'partition-offline', partitionRef: partition.state.partitionRef, reason })
  }

  opened(partition: PartitionAgent): void {
    this.#replicas.onOpened(partition)
    this.progress(partition)
  }

  remove(path: string): void {
    this.#removals.add(path)
  }

  journalDelete(partition: PartitionAgent): void {
    const { topicId } = partition
    // Without room it comes with the next checkpoint's sequence instead: until then a crash brings back a folder that nobody
    // knows, which recovery sets aside.
    if (!this.#journal?.addDelete({ topicId, partition: partition.partition })) return
    try {
      this.#journal.writeStaged()
    } catch (error) {
      // More than this operation's failure: the journal has a gap from here on.
      if (!(error instanceof StorageError)) throw error
      this.#fail(`the journal could not be written: ${error.code}: ${error.message}`)
    }
  }

  stats(): ShardStats {
    let offline = 0
    for (const partition of this.#partitions) if (partition.state.role === 'offline') offline++
    this.#transactions.look(this.#partitions, this.#clock.monotonicMs())
    return {
      partitions: this.#partitions.count,
      offlinePartitions: offline,
      appendedRecords: this.#produces.appendedRecords,
      duplicateBatches: this.#produces.duplicateBatches,
      appendedBytes: this.#produces.appendedBytes,
      fetchedBytes: this.#fetches.fetchedBytes,
      syncs: this.#scheduler.syncs,
      syncMicroseconds: this.#scheduler.syncMicroseconds,
      journalBytes: this.#journal?.usedBytes ?? 0,
      waitingFetches: this.#fetches.waiting,
      waitingProduces: this.#replies.waiting,
      pagesInUse: this.#cache.usedPages,
      pages: this.#cache.pages,
      turns: this.#turns,
      busyMicroseconds: this.#busyMs * 1000,
      heapBytes: this.#heapBytes(),
      scrubbedBytes: this.#scrub.scrubbedBytes,
      scrubFindings: this.#scrub.findings,
      compactions: this.#compaction.runs,
      compactionsRunning: this.#compaction.isRunning ? 1 : 0,
      compactionFailures: this.#compaction.failures,
      compactionReclaimedBytes: this.#compaction.reclaimedBytes,
      compactionMicroseconds: this.#compaction.milliseconds * 1000,
      ...this.#transactionHost.stats(),
      openTransactions: this.#transactions.open,
      oldestTransactionMicroseconds: this.#transactions.oldestMs * 1000,
      abortedTransactions: this.#markers.abortedTransactions,
    }
  }

  compacted(body: CompactedBody): void {
    this.#compaction.onCompacted(body)
  }

  beginShutdown(done: (fault: string | undefined) => void): void {
    this.#shutdown = 'draining'
    this.#shutdownDone = done
  }

  /** Noted before anything is read: what it says may be what others wait for. */
  #onReplicaFetch(part: DraftPart, replica: ReplicaIdentity): void {
    const { partition, leaderEpoch, fetchOffset } = part
    if (partition === undefined || partition.isClosed) return
    const { state } = partition
    const isLed = checkLeads(state) === undefined && checkKnownEpoch(state, { leaderEpoch }) === undefined
    if (isLed && historyOf(partition, part).kind === 'agrees') this.#replicas.onFetch(partition, replica, fetchOffset)
    else if (isLed && state.replicas !== undefined) hear(state.replicas, replica)
  }

  // Failure and end

  /** Nothing of this shard's storage may be believed any more. */
  #fail(reason: string): void {
    if (this.#failure !== undefined) return
    this.#failure = reason
    this.#scheduler.stop()
    for (const partition of this.#partitions) {
      if (partition.state.role !== 'offline') goOffline(partition.state, reason)
      this.#replies.refuseAll(partition, 'KAFKA_STORAGE_ERROR', reason)
      this.#forgetCoordinators(partition)
      this.#fetches.onGone(partition)
    }
    this.#notices.send({ kind: 'shard-failed', reason, storage: true })
  }

  /** Nobody coordinates in this partition any more. */
  #forgetCoordinators(partition: PartitionAgent): void {
    this.#groups.host.forget(partition)
    this.#transactionHost.host.forget(partition)
  }

  #onCheckpointed(partitions: readonly PartitionAgent[]): void {
    for (const partition of partitions) {
      if (partition.isClosed) continue
      for (const path of partition.log.removeCondemned()) this.#removals.add(path)
      if (!partition.isBusy) partition.log.releaseIdle()
    }
  }

  /** Everything acknowledged is synced, then checkpointed, then answered; then the disk thread is told, and the agent is done. */
  #stepShutdown(): number {
    switch (this.#shutdown) {
      case 'none':
        return 0
      case 'draining':
        this.#fetches.finishAll()
        if (this.#failure === undefined && (this.#group.hasWork() || this.#replies.waiting > 0)) return 0
        this.#shutdown = 'checkpoint'
        if (this.#failure !== undefined) this.#endShutdown()
        else this.#lastCheckpoint()
        return 1
      case 'checkpoint':
        return 0
      case 'answered':
        if (!this.#outbox.isClear || !this.#disk.isIdle) return 0
        this.#disk.stop()
        this.isDone = true
        return 1
    }
  }

  /** Nothing is appended from here on: the checkpoint says where every log ends. */
  #lastCheckpoint(): void {
    this.#replicas.stop()
    for (const { state } of this.#partitions) if (state.role === 'leader') state.role = 'follower'
    while (this.#removals.step());
    this.#checkpointer.askLast(() => this.#endShutdown())
  }

  #endShutdown(): void {
    this.#shutdown = 'answered'
    let fault = this.#failure
    for (const { state, isDamaged } of this.#partitions)
      if (state.role === 'offline' && !isDamaged) fault ??= state.offlineReason ?? 'a partition is offline'
    this.#shutdownDone?.(fault)
  }
}

function memberId(prng: Prng): string {
  return Array.from({ length: 4 }, () => prng.uint32().toString(16).padStart(8, '0')).join('')
}
