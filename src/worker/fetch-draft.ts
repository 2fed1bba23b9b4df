/**
 * FetchDraft: one FETCH_REPLY under construction: what of the partitions asked for can be read now, as lines and page fragments.
 *
 * Thread      the shard; one draft, used for one fetch after the other
 * Ordering    gather() lends pages -> send() publishes, or takeBack() gives them back
 * Limits      the reply ring's frame: partitions that find no room in it are left out. A frame has room for a line, the first batch of a
 *             partition, and FETCH_ABORTED_MAX aborted transactions (rings.replyBytes). With allPartitions their lines are reserved first,
 *             where they take no more than half of it and leave that room
 * Failure     an unreadable file: the partition's line says KAFKA_STORAGE_ERROR, and onUnreadable is told; others go on. At the limit of
 *             open files: OVERLOADED, and the partition stays
 * Consumers   one that tells the epoch of the last batch it took is told where its history parts from this one, and gets no batches then
 *             (KIP-320): at the leader, and at a follower up to its high watermark, below which it is never cut
 * Replicas    read up to the log end; where the histories part the line says so and has no batches (replication/divergence.ts); a line without
 *             batches tells a high watermark or log start that the replica was not told yet
 * Reply       a partition is left out when it has neither data nor error and its high watermark is the offset asked for, unless the fetch
 *             wants all partitions told: what it waits for is the same. With read_committed
 *             every aborted transaction that overlaps the batches of a line is told in it: where there are too many for the frame, fewer
 *             batches are served
 */
import { assert } from '../base/assert.ts'
import { StorageError } from '../io/file-system.ts'
import type { AbortedTransaction } from '../model/aborted-transaction.ts'
import { type ErrorCode, errorNumberOf } from '../model/errors.ts'
import type { Offset } from '../model/ids.ts'
import { BATCH_BYTES_MAX, FETCH_ABORTED_MAX } from '../model/limits.ts'
import type { ReplicaIdentity } from '../model/replica.ts'
import type { FetchPart } from '../partition/delayed-fetch.ts'
import { lastStableOffset } from '../partition/high-watermark.ts'
import {
  checkFetch,
  checkKnownEpoch,
  checkLeads,
  ISOLATION_READ_COMMITTED,
  readableEnd,
} from '../partition/partition-fetch.ts'
import type { PartitionState } from '../partition/partition-state.ts'
import { type RemoteReplica, remoteOf } from '../partition/replica-set.ts'
import { BATCH_HEADER_BYTES } from '../record/batch-layout.ts'
import { AGREES, compareHistory, type HistoryAnswer } from '../replication/divergence.ts'
import { endOfLeaderEpoch } from '../replication/epoch-ends.ts'
import { fetchReplyBytes } from '../ring/message-codec.ts'
import {
  ABORTED_BYTES,
  ABORTED_FIRST_OFFSET_AT,
  ABORTED_PRODUCER_ID_AT,
  FETCH_REPLY_PARTITION_ABORTED_AT,
  FETCH_REPLY_PARTITION_BATCH_BYTES_AT,
  FETCH_REPLY_PARTITION_BYTES,
  FETCH_REPLY_PARTITION_COUNT_AT,
  FETCH_REPLY_PARTITION_DIVERGING_END_AT,
  FETCH_REPLY_PARTITION_DIVERGING_EPOCH_AT,
  FETCH_REPLY_PARTITION_ERROR_AT,
  FETCH_REPLY_PARTITION_FRAGMENTS_AT,
  FETCH_REPLY_PARTITION_HIGH_WATERMARK_AT,
  FETCH_REPLY_PARTITION_LAST_STABLE_AT,
  FETCH_REPLY_PARTITION_LEADER_EPOCH_AT,
  FETCH_REPLY_PARTITION_LOG_START_AT,
  FETCH_REPLY_PARTITION_REF_AT,
  FETCH_REPLY_PARTITIONS_AT,
  FETCH_REPLY_REQUEST_ID_AT,
  FRAGMENT_BYTES,
  FRAGMENT_FROM_AT,
  FRAGMENT_PAGE_AT,
  FRAGMENT_TO_AT,
  MessageType,
} from '../ring/messages.ts'
import type { PageCache } from './page-cache.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { ReplyOutbox } from './reply-outbox.ts'
import { FragmentList, type LoadListener, type SegmentReader } from './segment-reader.ts'

export interface DraftPart extends FetchPart {
  readonly partition: PartitionAgent | undefined
  /** Of a replica's last batch, or the last that a consumer took; -1 = none. */
  readonly lastEpoch: number
}

export interface DraftWish {
  readonly maxBytes: number
  readonly isolation: number
  /** Who follows; undefined = a consumer. */
  readonly replica: ReplicaIdentity | undefined
  /** Of a consumer: a follower may answer. */
  readonly anyReplica: boolean
  /** Of a consumer: each part has a line. */
  readonly allPartitions: boolean
  readonly parts: readonly DraftPart[]
}

export interface FetchDraftOptions {
  readonly reader: SegmentReader
  readonly cache: PageCache
  readonly outbox: ReplyOutbox
  /** A file could not be read, or does not hold what it should. */
  readonly onUnreadable: (partition: PartitionAgent, reason: string) => void
  /** This replica leads for all it knows, and may not be told of who leads now. */
  readonly mayBeLedElsewhere: (partition: PartitionAgent) => boolean
}

/** One partition's line of the reply; reused from reply to reply. */
interface Line {
  ref: number
  error: number
  partition: PartitionAgent | undefined
  fragments: number
  bytes: number
  aborted: number
  /** Where the reader's history parts from this one; -1 = it does not. */
  divergingEpoch: number
  divergingEndOffset: number
  /** Who is told the high watermark and the log start. */
  remote: RemoteReplica | undefined
}

/** What is wanted of one partition. */
interface PartRead {
  readonly part: DraftPart
  readonly partition: PartitionAgent
  readonly endOffset: Offset
  readonly limitBytes: number
}

interface ReplicaPart {
  readonly part: DraftPart
  readonly partition: PartitionAgent
  readonly roomBytes: number
}

/** done: read, also where nothing could be. failed: its line is there. no-room: left out, and so are all after it. */
type Outcome = 'done' | 'failed' | 'no-room'

/** Another replica may have what is asked for. */
const NOT_HERE = 'NOT_LEADER_OR_FOLLOWER'
/** Less than two pages, or one and nothing beside it, is no room for batches. */
const BATCH_ROOM_BYTES_MIN = FRAGMENT_BYTES * 2

export class FetchDraft {
  readonly #options: FetchDraftOptions
  readonly #fragments = new FragmentList()
  readonly #lines: Line[] = []
  #lineCount = 0
  /** Producer id and first offset, of all lines in turn. */
  readonly #aborted: number[] = []
  #listener: LoadListener | undefined
  bytes = 0
  hasError = false
  /** Something is to be told that is no batch: that histories part; of a replica's a high watermark or a log start, too. */
  hasNews = false
  /** A page was wanted and none is free. */
  isStarved = false

  // Where the line that is being gathered began.
  #fragmentsBefore = 0
  #abortedBefore = 0
  #bytesBefore = 0
  /** Each part has a line. */
  #tellsAll = false
  /** Lines that have their room in the frame, whatever is read. */
  #reservedLines = 0

  constructor(options: FetchDraftOptions) {
    this.#options = options
  }

  clear(): void {
    this.#fragments.count = 0
    this.#lineCount = 0
    this.#aborted.length = 0
    this.bytes = 0
    this.hasError = false
    this.hasNews = false
    this.isStarved = false
  }

  /** Reads what may be had now; pages that are on their way are told to `listener`. */
  gather(wish: DraftWish, listener: LoadListener): void {
    this.clear()
    this.#listener = listener
    this.#tellsAll = wish.allPartitions && this.#leaveRoom(wish)
    this.#reservedLines = this.#tellsAll ? wish.parts.length : 0
    for (const part of wish.parts) {
      const roomBytes = this.#roomBytes()
      const hasRoom = roomBytes >= (this.#tellsAll ? 0 : BATCH_ROOM_BYTES_MIN)
      if (!hasRoom || this.#gatherPart(wish, part, roomBytes) === 'no-room') return
    }
  }

  /** Lines of all parts leave half of the frame, and with read_committed what the first batch of any may need: else that would never come. */
  #leaveRoom({ parts, isolation }: DraftWish): boolean {
    const { outbox, cache } = this.#options
    const fragments = Math.ceil(BATCH_BYTES_MAX / cache.pageBytes) + 1
    const withAborted = fetchReplyBytes(parts.length, fragments, FETCH_ABORTED_MAX)
    if (isolation === ISOLATION_READ_COMMITTED && withAborted > outbox.payloadBytesMax) return false
    return fetchReplyBytes(parts.length, 0) <= outbox.payloadBytesMax / 2
  }

  /** Nobody gets it: its pages are given back. */
  takeBack(): void {
    this.#dropFrom(0)
  }

  send(requestId: number): void {
    const { outbox } = this.#options
    outbox.begin(
      MessageType.FETCH_REPLY,
      fetchReplyBytes(this.#lineCount, this.#fragments.count, this.#aborted.length >> 1),
    )
    const { view } = outbox
    view.setUint32(outbox.at + FETCH_REPLY_REQUEST_ID_AT, requestId, true)
    view.setUint32(outbox.at + FETCH_REPLY_PARTITION_COUNT_AT, this.#lineCount, true)
    let at = outbox.at + FETCH_REPLY_PARTITIONS_AT
    for (let index = 0; index < this.#lineCount; index++) {
      writeLine(view, at, this.#lines[index]!)
      at += FETCH_REPLY_PARTITION_BYTES
    }
    const { numbers, count } = this.#fragments
    for (let index = 0; index < count; index++) {
      view.setUint32(at + FRAGMENT_PAGE_AT, numbers[index * 3]!, true)
      view.setUint32(at + FRAGMENT_FROM_AT, numbers[index * 3 + 1]!, true)
      view.setUint32(at + FRAGMENT_TO_AT, numbers[index * 3 + 2]!, true)
      at += FRAGMENT_BYTES
    }
    for (let index = 0; index < this.#aborted.length; index += 2) {
      view.setFloat64(at + ABORTED_PRODUCER_ID_AT, this.#aborted[index]!, true)
      view.setFloat64(at + ABORTED_FIRST_OFFSET_AT, this.#aborted[index + 1]!, true)
      at += ABORTED_BYTES
    }
    outbox.end()
  }

  /** Bytes of the frame that are left beside one more line, or those that are reserved. */
  #roomBytes(): number {
    const lineCount = Math.max(this.#lineCount + 1, this.#reservedLines)
    const usedBytes = fetchReplyBytes(lineCount, this.#fragments.count, this.#aborted.length >> 1)
    return this.#options.outbox.payloadBytesMax - usedBytes
  }

  #gatherPart(wish: DraftWish, part: DraftPart, roomBytes: number): Outcome {
    const { partition } = part
    this.#fragmentsBefore = this.#fragments.count
    this.#abortedBefore = this.#aborted.length
    this.#bytesBefore = this.bytes
    if (partition === undefined || partition.isClosed) return this.#fail(part, 'UNKNOWN_TOPIC_OR_PARTITION')
    if (wish.replica !== undefined) return this.#gatherReplica(wish, wish.replica, { part, partition, roomBytes })
    // At a follower: reads that begin now would hold the cut up.
    if (partition.isCutting) return this.#fail(part, NOT_HERE)
    const refusal = checkFetch(partition.state, part, wish)
    const isOutOfRange = refusal?.error === 'OFFSET_OUT_OF_RANGE'
    if (part.lastEpoch >= 0 && (refusal === undefined || isOutOfRange) && isComparable(partition.state, part)) {
      const outcome = this.#compareConsumer(part, partition)
      if (outcome !== undefined) return outcome
    }
    if (isOutOfRange && this.#isBehind(part, partition)) return this.#fail(part, NOT_HERE)
    if (refusal !== undefined) return this.#fail(part, refusal.error)
    const isCommitted = wish.isolation === ISOLATION_READ_COMMITTED
    const endOffset = readableEnd(partition.state, wish.isolation)
    // What it has is true whoever leads. A reader that waits for more would wait here for ever.
    if (part.fetchOffset >= endOffset && this.#options.mayBeLedElsewhere(partition)) return this.#fail(part, NOT_HERE)
    // With read_committed half of the room is for the list.
    const fragmentsMax = Math.floor(roomBytes / (isCommitted ? 2 : 1) / FRAGMENT_BYTES)
    const pagesBytes = (fragmentsMax - 1) * this.#options.cache.pageBytes
    const limitBytes = Math.min(part.maxBytes, wish.maxBytes - this.bytes, pagesBytes)
    const mayRead = roomBytes >= BATCH_ROOM_BYTES_MIN && (limitBytes > 0 || this.bytes === 0)
    if (part.fetchOffset < endOffset && mayRead) {
      const outcome = this.#read({ part, partition, endOffset, limitBytes }, isCommitted)
      if (outcome === 'failed' || (outcome === 'no-room' && !this.#tellsAll)) return outcome
    } else if (part.fetchOffset === partition.state.highWatermark && !this.#tellsAll) return 'done'
    this.#addLine(part, 0)
    return 'done'
  }

  /** Of a consumer that tells the epoch of the last batch it took: undefined = its history is the one here. */
  #compareConsumer(part: DraftPart, partition: PartitionAgent): Outcome | undefined {
    const { log, state } = partition
    const { leaderEpoch, logEndOffset } = state
    if (part.lastEpoch > leaderEpoch) return this.#fail(part, this.#epochFault(part, partition))
    const { epoch, endOffset } = endOfLeaderEpoch({ epochs: log.epochs, leaderEpoch, logEndOffset }, part.lastEpoch)
    if (epoch === part.lastEpoch && part.fetchOffset <= endOffset) return undefined
    // Where another may lead by now, what was read there is no other history.
    if (this.#options.mayBeLedElsewhere(partition)) return this.#fail(part, NOT_HERE)
    this.#tellParting(part, epoch, endOffset)
    return 'done'
  }

  /** The reader has a batch of an epoch that is not known here: it was truncated, as in Kafka, unless this replica may be the one behind. */
  #epochFault({ leaderEpoch }: DraftPart, partition: PartitionAgent): ErrorCode {
    if (this.#options.mayBeLedElsewhere(partition)) return NOT_HERE
    const isChecked = partition.state.role === 'leader' || leaderEpoch !== -1
    return isChecked ? 'OFFSET_OUT_OF_RANGE' : 'UNKNOWN_LEADER_EPOCH'
  }

  #tellParting(part: DraftPart, epoch: number, endOffset: number): void {
    this.hasNews = true
    const line = this.#addLine(part, 0)
    line.divergingEpoch = epoch
    line.divergingEndOffset = endOffset
  }

  /** Whoever asks past the end has read what this replica has not: where it may lead no more that is no fault of the reader's. */
  #isBehind(part: DraftPart, partition: PartitionAgent): boolean {
    return part.fetchOffset > partition.state.logEndOffset && this.#options.mayBeLedElsewhere(partition)
  }

  #gatherReplica(wish: DraftWish, replica: ReplicaIdentity, at: ReplicaPart): Outcome {
    const { part, partition, roomBytes } = at
    const { state } = partition
    const refusal = checkLeads(state) ?? checkKnownEpoch(state, part)
    if (refusal !== undefined) return this.#fail(part, refusal.error)
    const remote = state.replicas && remoteOf(state.replicas, replica.nodeId)
    if (remote?.incarnation !== replica.incarnation) return this.#fail(part, 'REPLICA_NOT_AVAILABLE')
    const history = historyOf(partition, part)
    if (history.kind === 'below-start') return this.#fail(part, 'OFFSET_OUT_OF_RANGE')
    if (history.kind === 'diverging') {
      this.#tellParting(part, history.epoch, history.endOffset)
      return 'done'
    }
    const pagesBytes = (Math.floor(roomBytes / FRAGMENT_BYTES) - 1) * this.#options.cache.pageBytes
    const limitBytes = Math.min(part.maxBytes, wish.maxBytes - this.bytes, pagesBytes)
    const endOffset = state.logEndOffset
    if (part.fetchOffset < endOffset && (limitBytes > 0 || this.bytes === 0)) {
      const outcome = this.#read({ part, partition, endOffset, limitBytes }, false)
      if (outcome !== 'done') return outcome
    }
    const isNews = !isTold(remote, state)
    if (this.bytes === this.#bytesBefore && !isNews) return 'done'
    this.hasNews ||= isNews
    this.#addLine(part, 0).remote = remote
    return 'done'
  }

  #read(read: PartRead, isCommitted: boolean): Outcome {
    try {
      const outcome = this.#readBatches(read)
      return outcome === 'done' && isCommitted && this.bytes > this.#bytesBefore ? this.#listAborted(read) : outcome
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      this.#dropLine()
      if (error.isOpenLimit) return this.#fail(read.part, 'OVERLOADED')
      this.#options.onUnreadable(read.partition, `a read failed: ${error.code}: ${error.message}`)
      return this.#fail(read.part, 'KAFKA_STORAGE_ERROR')
    }
  }

  #readBatches({ part, partition, endOffset, limitBytes }: PartRead): Outcome {
    const { reader, onUnreadable } = this.#options
    const outcome = reader.read(
      { partition, offset: part.fetchOffset, endOffset, limitBytes, takesFirst: this.bytes === 0 },
      this.#fragments,
      this.#listener!,
    )
    if (outcome === 'read') this.bytes += reader.readBytes
    else if (outcome === 'starved') this.isStarved = true
    else if (outcome === 'damaged') {
      onUnreadable(partition, `the segment that holds offset ${part.fetchOffset} is damaged`)
      return this.#fail(part, 'KAFKA_STORAGE_ERROR')
    }
    return 'done'
  }

  /** Lists the aborted transactions that overlap what was read; reads less where there are too many. */
  #listAborted(read: PartRead): Outcome {
    const { reader } = this.#options
    const { part, partition } = read
    const told = this.#aborted.length >> 1
    const countMax = Math.max(0, Math.min(FETCH_ABORTED_MAX - told, Math.floor(this.#roomBytes() / ABORTED_BYTES)))
    const { entries, endOffset } = partition.log.abortedIn(part.fetchOffset, reader.readNextOffset, countMax)
    const isWhole = endOffset >= reader.readNextOffset
    // The first batch may need more of them than there is room for.
    const isTooLong = entries.length > countMax
    if (!isWhole || isTooLong) {
      this.#dropLine()
      if (isTooLong && this.bytes > 0) return 'no-room'
      const limitBytes = isTooLong ? 1 : read.limitBytes
      const outcome = this.#readBatches({ ...read, endOffset: endOffset as Offset, limitBytes })
      if (outcome !== 'done') return outcome
      if (this.bytes === this.#bytesBefore) return this.#readFiller(read, countMax)
    }
    return this.#tellAborted(entries)
  }

  /**
   * The list ends within the first batch: a filler of compaction, which stands for more of them than there is room for. It goes alone, with
   * what overlaps its first offset: whatever else began within it has no batch there.
   */
  #readFiller(read: PartRead, countMax: number): Outcome {
    const { part, partition } = read
    const { entries } = partition.log.abortedIn(part.fetchOffset, part.fetchOffset + 1, countMax)
    if (entries.length > countMax && this.bytes > 0) return 'no-room'
    const outcome = this.#readBatches({ ...read, limitBytes: BATCH_HEADER_BYTES })
    return outcome === 'done' && this.bytes > this.#bytesBefore ? this.#tellAborted(entries) : outcome
  }

  #tellAborted(entries: readonly AbortedTransaction[]): Outcome {
    for (const { producerId, firstOffset } of entries) this.#aborted.push(producerId, firstOffset)
    if (this.#roomBytes() >= 0) return 'done'
    // Of the first batch, which goes whatever it takes: lines that are still to come give way to it, those that are there do not.
    const reservedLines = this.#reservedLines
    this.#reservedLines = 0
    if (this.#roomBytes() >= 0) return 'done'
    assert(this.#lineCount > 0, 'the reply ring is too small for the aborted transactions of one batch')
    this.#reservedLines = reservedLines
    this.#dropLine()
    return 'no-room'
  }

  /** Gives back what the line under construction has read. */
  #dropLine(): void {
    this.#dropFrom(this.#fragmentsBefore)
    this.#aborted.length = this.#abortedBefore
    this.bytes = this.#bytesBefore
  }

  #dropFrom(from: number): void {
    const { cache } = this.#options
    for (let index = from; index < this.#fragments.count; index++) cache.unlend(this.#fragments.pages[index]!)
    this.#fragments.count = from
  }

  #fail(part: DraftPart, error: ErrorCode): Outcome {
    this.hasError = true
    this.#addLine(part, errorNumberOf(error))
    return 'failed'
  }

  #addLine(part: DraftPart, error: number): Line {
    let line = this.#lines[this.#lineCount]
    if (line === undefined) {
      line = newLine()
      this.#lines.push(line)
    }
    line.ref = part.partitionRef
    line.error = error
    line.partition = part.partition
    line.fragments = this.#fragments.count - this.#fragmentsBefore
    line.bytes = this.bytes - this.#bytesBefore
    line.aborted = (this.#aborted.length - this.#abortedBefore) >> 1
    line.divergingEpoch = -1
    line.divergingEndOffset = -1
    line.remote = undefined
    this.#lineCount++
    return line
  }
}

function newLine(): Line {
  return {
    ref: 0,
    error: 0,
    partition: undefined,
    fragments: 0,
    bytes: 0,
    aborted: 0,
    divergingEpoch: -1,
    divergingEndOffset: -1,
    remote: undefined,
  }
}

/** Whether the leader's history holds the replica's. */
export function historyOf({ log, state }: PartitionAgent, { fetchOffset, lastEpoch }: DraftPart): HistoryAnswer {
  const { logStartOffset, logEndOffset } = state
  // As a rule: it has all or less of what the present leader wrote.
  const isRecent = lastEpoch === log.epochs.latestEpoch && lastEpoch >= 0
  if (isRecent && fetchOffset >= logStartOffset && fetchOffset <= logEndOffset) return AGREES
  return compareHistory({ entries: log.epochs.toEntries(), logStartOffset, logEndOffset }, { fetchOffset, lastEpoch })
}

/** A follower's log is known to be the leader's up to its high watermark alone; what is below the log start is out of range. */
function isComparable({ role, logStartOffset, highWatermark }: PartitionState, { fetchOffset }: DraftPart): boolean {
  return fetchOffset >= logStartOffset && (role === 'leader' || fetchOffset <= highWatermark)
}

/**
 * The replica knows what there is to know. One whose synced end was not heard may not have got the first answer of this epoch, and tells
 * nothing before it has.
 */
function isTold(remote: RemoteReplica, { highWatermark, logStartOffset }: PartitionState): boolean {
  const { toldHighWatermark, toldLogStart, syncedEndOffset } = remote
  return toldHighWatermark === highWatermark && toldLogStart === logStartOffset && syncedEndOffset >= 0
}

function writeLine(view: DataView, at: number, line: Line): void {
  const state = line.partition?.state
  view.setUint32(at + FETCH_REPLY_PARTITION_REF_AT, line.ref, true)
  view.setInt32(at + FETCH_REPLY_PARTITION_ERROR_AT, line.error, true)
  view.setFloat64(at + FETCH_REPLY_PARTITION_HIGH_WATERMARK_AT, state?.highWatermark ?? -1, true)
  view.setFloat64(at + FETCH_REPLY_PARTITION_LAST_STABLE_AT, state === undefined ? -1 : lastStableOffset(state), true)
  view.setFloat64(at + FETCH_REPLY_PARTITION_LOG_START_AT, state?.logStartOffset ?? -1, true)
  view.setUint32(at + FETCH_REPLY_PARTITION_FRAGMENTS_AT, line.fragments, true)
  view.setInt32(at + FETCH_REPLY_PARTITION_LEADER_EPOCH_AT, state?.leaderEpoch ?? -1, true)
  view.setUint32(at + FETCH_REPLY_PARTITION_BATCH_BYTES_AT, line.bytes, true)
  view.setUint32(at + FETCH_REPLY_PARTITION_ABORTED_AT, line.aborted, true)
  view.setInt32(at + FETCH_REPLY_PARTITION_DIVERGING_EPOCH_AT, line.divergingEpoch, true)
  view.setFloat64(at + FETCH_REPLY_PARTITION_DIVERGING_END_AT, line.divergingEndOffset, true)
  if (line.remote !== undefined && state !== undefined) {
    line.remote.toldHighWatermark = state.highWatermark
    line.remote.toldLogStart = state.logStartOffset
  }
  line.remote = undefined
  line.partition = undefined
}
