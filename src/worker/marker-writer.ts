/**
 * MarkerWriter: what coordinators of transactions ask of this shard's partitions, by way of main: who may begin a transaction
 * (REGISTER_PRODUCERS), and what ends one (WRITE_MARKERS).
 *
 * Thread      the shard
 * Ordering    markers are staged as they are taken from the ring, so several in a turn share its write and its sync; a request is
 *             answered when each of its markers is durable or has failed. Durable is synced, whatever the topic's fsync says: the coordinator
 *             notes Complete in a log that is synced, and would never send a marker again that a power cut took (OwnAppend)
 * Failure     each marker has its own error: UNKNOWN_TOPIC_OR_PARTITION where the partition is gone, NOT_LEADER_OR_FOLLOWER or
 *             KAFKA_STORAGE_ERROR where it does not serve, INVALID_PRODUCER_EPOCH or TRANSACTION_COORDINATOR_FENCED where it is late.
 *             Low disk space is no reason to refuse one: it is what lets readers go on
 * Not here    what a marker does to the partition's state (log/producer-state), who asks and asks again (transaction/)
 */
import { type ErrorCode, errorNumberOf } from '../model/errors.ts'
import type { OwnAppend } from '../partition/delayed-produce.ts'
import type {
  MarkerToWrite,
  RegisterProducersBody,
  WriteMarkersAnswer,
  WriteMarkersBody,
} from '../ring/control-messages.ts'
import type { ControlReplies } from './control-replies.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { PartitionTable } from './partition-table.ts'
import type { OwnMarker, ProduceHandler } from './produce-handler.ts'

/** Who coordinates something in a partition whose transactions end (the groups of an offsets partition). */
export interface MarkerListener {
  /**
   * `marker` is staged in `partition`, behind everything that was appended to it before. What is answered is told how that ended, before
   * the coordinator of the transaction is; undefined: nobody here wants to know.
   */
  onMarkerStaged(partition: PartitionAgent, marker: OwnMarker): OwnAppend | undefined
}

export interface MarkerWriterOptions {
  readonly partitions: PartitionTable
  readonly produces: ProduceHandler
  readonly replies: ControlReplies
  readonly listener?: MarkerListener
}

/** A WRITE_MARKERS that is not answered yet. */
interface Writing {
  readonly requestId: number
  readonly errorNumbers: number[]
  left: number
}

export class MarkerWriter {
  readonly #options: MarkerWriterOptions
  /** Transactions that were aborted here since the start. */
  abortedTransactions = 0

  constructor(options: MarkerWriterOptions) {
    this.#options = options
  }

  /**
   * A partition that is not there, or does not serve, is passed over: whoever writes to it will be told. A transaction of 10,000 idle
   * partitions is registered in one turn, so no file is read.
   */
  onRegister(requestId: number, { producerId, producerEpoch, partitionRefs }: RegisterProducersBody): void {
    const { partitions, replies } = this.#options
    for (const partitionRef of partitionRefs) {
      const partition = partitions.get(partitionRef)
      if (partition !== undefined && !partition.isClosed && partition.state.role === 'leader')
        partition.log.registerProducer(producerId, producerEpoch)
    }
    replies.answer(requestId, {})
  }

  /** Stages them; the turn's write must follow. */
  onWrite(requestId: number, { markers }: WriteMarkersBody): void {
    const writing: Writing = { requestId, errorNumbers: markers.map(() => 0), left: markers.length }
    if (markers.length === 0) this.#answer(writing)
    for (const [index, marker] of markers.entries()) this.#write(writing, index, marker)
  }

  #write(writing: Writing, index: number, wanted: MarkerToWrite): void {
    const partition = this.#options.partitions.get(wanted.partitionRef)
    if (partition === undefined) {
      this.#ended(writing, index, 'UNKNOWN_TOPIC_OR_PARTITION')
      return
    }
    const { producerId, producerEpoch, coordinatorEpoch, isCommit, isClassic } = wanted
    const type = isCommit ? 'COMMIT' : 'ABORT'
    const marker: OwnMarker = { type, producerId, producerEpoch, coordinatorEpoch, isClassic }
    const aborts = !isCommit && partition.log.transactions.has(producerId)
    let listener: OwnAppend | undefined
    const outcome = this.#options.produces.appendMarker(partition, marker, {
      onDurable: () => {
        if (aborts && outcome === 'staged') this.abortedTransactions++
        listener?.onDurable()
        this.#ended(writing, index, 'NONE')
      },
      onFailed: (error, text) => {
        listener?.onFailed(error, text)
        this.#ended(writing, index, error)
      },
    })
    if (outcome === 'staged') listener = this.#options.listener?.onMarkerStaged(partition, marker)
  }

  #ended(writing: Writing, index: number, error: ErrorCode): void {
    writing.errorNumbers[index] = errorNumberOf(error)
    writing.left--
    if (writing.left === 0) this.#answer(writing)
  }

  #answer({ requestId, errorNumbers }: Writing): void {
    const answer: WriteMarkersAnswer = { errorNumbers }
    this.#options.replies.answer(requestId, answer)
  }
}
