/** The events of clients, producers and consumers, with what each tells. See events.ts for the rules of listening. */
import type { MillraceError } from '../model/errors.ts'
import type { DecodeError } from './decode-error.ts'
import type { ListenerError } from './events.ts'
import type { TopicPartition } from './group/group-options.ts'
import type { CommittedPosition } from './group/offset-committer.ts'
import type { FailedBatch, StoredBatch } from './producer-options.ts'

export interface ClientEvents {
  /** A connection is open and greeted. The first is so before connect() answers. */
  readonly connected: { readonly url: string; readonly nodeId: number; readonly version: string }
  /** A connection has ended; CLOSED when the client ended it. */
  readonly disconnected: { readonly url: string; readonly nodeId: number; readonly error: MillraceError }
  /** An attempt to connect failed; the next one comes after retryInMs at the earliest, when something is to be sent. */
  readonly connectFailed: { readonly url: string; readonly error: MillraceError; readonly retryInMs: number }
  /** An attempt begins after a lost connection or failed attempts; `attempt` counts them since the last success. */
  readonly reconnecting: { readonly url: string; readonly attempt: number }
  /** A listener of the client, or of a producer or consumer of it, threw or rejected. Without a listener of this: uncaught. */
  readonly listenerError: ListenerError
}

export interface ProducerEvents {
  readonly batchStored: StoredBatch
  /** A batch was given up. Told beside send()'s rejection, onFailed and drain(), not instead. */
  readonly batchFailed: FailedBatch
  /** A batch comes to be sent again because of `error`. */
  readonly batchRetried: FailedBatch & { readonly attempts: number }
}

/** Those of all topics it writes to, and how its transactions end. */
export interface TransactionalProducerEvents extends ProducerEvents {
  readonly transactionCommitted: { readonly transactionalId: string }
  /** Told beside the rejection of commit() or transaction(). Not certain: it may be committed all the same. */
  readonly transactionAborted: {
    readonly transactionalId: string
    readonly isCertain: boolean
    /** Why; undefined = the program wanted it. */
    readonly error: MillraceError | undefined
  }
}

export interface ConsumerEvents {
  /** A record could not be decoded, whatever onDecodeError makes of it. */
  readonly decodeError: { readonly error: DecodeError }
  /** onOutOfRange moved a partition: records between were passed over, or are read again. */
  readonly offsetReset: {
    readonly topic: string
    readonly partition: number
    readonly fromOffset: number
    readonly toOffset: number
  }
}

interface PartitionsMoved {
  readonly partitions: readonly TopicPartition[]
}

interface RecordTried {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly error: unknown
  /** Times it has been tried. */
  readonly attempts: number
}

export interface GroupEvents extends ConsumerEvents {
  /** Partitions came, or went in order; each after its hook. */
  readonly assigned: PartitionsMoved
  readonly revoked: PartitionsMoved
  /** Partitions were taken away: others may have them already. Before its hook. */
  readonly lost: PartitionsMoved & { readonly error: MillraceError }
  /** The member owns what the coordinator meant it to own. */
  readonly rebalanced: { readonly memberEpoch: number; readonly partitions: readonly TopicPartition[] }
  /** The coordinator does not count this member among the group any more; it joins anew, or the group ends. */
  readonly fenced: { readonly error: MillraceError }
  readonly committed: { readonly offsets: readonly CommittedPosition[] }
  /** A commit was given up; told beside the rejection of commit(). */
  readonly commitFailed: { readonly offsets: readonly CommittedPosition[]; readonly error: MillraceError }
  /** run(): a record failed and is tried again. */
  readonly retried: RecordTried
  /** run(): a record is in the dead letter topic. */
  readonly deadLettered: RecordTried
}

export const CLIENT_EVENTS: Record<keyof ClientEvents, true> = {
  connected: true,
  disconnected: true,
  connectFailed: true,
  reconnecting: true,
  listenerError: true,
}
export const PRODUCER_EVENTS: Record<keyof ProducerEvents, true> = {
  batchStored: true,
  batchFailed: true,
  batchRetried: true,
}
export const TRANSACTIONAL_PRODUCER_EVENTS: Record<keyof TransactionalProducerEvents, true> = {
  ...PRODUCER_EVENTS,
  transactionCommitted: true,
  transactionAborted: true,
}
export const CONSUMER_EVENTS: Record<keyof ConsumerEvents, true> = { decodeError: true, offsetReset: true }
export const GROUP_EVENTS: Record<keyof GroupEvents, true> = {
  ...CONSUMER_EVENTS,
  assigned: true,
  revoked: true,
  lost: true,
  rebalanced: true,
  fenced: true,
  committed: true,
  commitFailed: true,
  retried: true,
  deadLettered: true,
}
