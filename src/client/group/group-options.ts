/** Options of group() and of run(), their defaults and their checks. */
import { MillraceError } from '../../model/errors.ts'
import { GROUP_ID_BYTES_MAX, GROUP_NAME_BYTES_MAX, TRANSACTIONAL_ID_BYTES_MAX } from '../../model/limits.ts'
import { checkedChoice, checkedDuration, checkedInteger, type Duration } from '../client-options.ts'
import { type ConsumerOptions, type ResolvedConsumerOptions, resolveConsumerOptions } from '../consumer-options.ts'
import { checkedTransactionalId } from '../producer-options.ts'
import type { TopicLike } from '../topic.ts'

/** A partition of a topic, as hooks and events name it. */
export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** Told of partitions that come or go. What it answers is waited for; what it throws ends the group. */
export type PartitionsHook = (partitions: readonly TopicPartition[]) => unknown

export interface GroupOptions extends Omit<ConsumerOptions, 'to' | 'partitions'> {
  /**
   * What a record is worth. 'at-least-once' (default) commits what has been handled, 'at-most-once' what is about to be: a batch is
   * committed before its first record is handed out. 'exactly-once', with run(): what handlers send through their transaction and how
   * far they have come is committed as one thing.
   */
  readonly semantics?: 'at-most-once' | 'at-least-once' | 'exactly-once'
  /** Of 'exactly-once': how much is done in one transaction. */
  readonly transaction?: TransactionOptions
  /** Of 'exactly-once': its producer's name; members have one each. Default: group id and instanceId, or a name nobody else has. */
  readonly transactionalId?: string
  /** 'auto' (default) commits what is finished every autoCommitIntervalMs, before a partition goes, and at close(). */
  readonly commit?: 'auto' | 'manual'
  /** Default 5,000. */
  readonly autoCommitIntervalMs?: Duration
  /** How long the member may be silent before the broker gives its partitions to others. Default 10,000. */
  readonly sessionTimeoutMs?: Duration
  /** Until the broker has said how often it wants to hear of the member. Default 3,000. */
  readonly heartbeatIntervalMs?: Duration
  /** How long giving a partition up may take, handlers and onRevoked included, before the broker fences the member. Default 60,000. */
  readonly rebalanceTimeoutMs?: Duration
  /** How long a handler may take for a record (a batch with batches()) before it counts as hung. Default 300,000. */
  readonly pollIntervalMsMax?: Duration
  /** How long close() waits for handlers and for the last commit. Default: rebalanceTimeoutMs. */
  readonly closeTimeoutMs?: Duration
  /** A name of its own makes the member static: it may restart within its session and finds its partitions again. */
  readonly instanceId?: string
  /** How the broker distributes partitions: 'range', 'roundrobin', … Default: the broker's. */
  readonly assignor?: string
  /**
   * Where this member stands: partitions are read from an in-sync replica of a broker with that `cluster.rack`, where there is one, instead
   * of from their leader; an assignor may go by it.
   */
  readonly rackId?: string
  /** Partitions that are new to this member; they are handed out after it. It may seek(). */
  readonly onAssigned?: PartitionsHook
  /** Partitions that go to others: nothing of them is being handled any more, and they go after it. It may commit(). */
  readonly onRevoked?: PartitionsHook
  /** Partitions that are gone already: others may have them. Nothing of them can be committed. */
  readonly onLost?: PartitionsHook
}

/** Options whose handlers get a transaction. */
export interface ExactlyOnceGroupOptions extends GroupOptions {
  readonly semantics: 'exactly-once'
}

export interface TransactionOptions {
  /** Records a transaction takes. Default 1,000. */
  readonly recordsMax?: number
  /** How long a transaction takes records, while there are any; then those it has are handled, and it is committed. Default 100. */
  readonly ms?: Duration
  /**
   * How long a transaction may be open before the broker aborts it; until then one of a member that crashed holds up whoever has its
   * partitions next. Handlers must be quicker. Default: sessionTimeoutMs.
   */
  readonly timeoutMs?: Duration
}

export interface ResolvedTransactionOptions {
  readonly transactionalId: string | undefined
  /** Nobody else can have the transactional id. */
  readonly isOwnId: boolean
  readonly recordsMax: number
  readonly ms: number
  readonly timeoutMs: number
}

export interface ResolvedGroupOptions extends ResolvedConsumerOptions {
  readonly semantics: 'at-most-once' | 'at-least-once' | 'exactly-once'
  readonly isAutoCommit: boolean
  readonly transaction: ResolvedTransactionOptions
  readonly autoCommitIntervalMs: number
  readonly sessionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  readonly rebalanceTimeoutMs: number
  readonly pollIntervalMsMax: number
  readonly closeTimeoutMs: number
  readonly instanceId: string | null
  readonly assignor: string | null
  readonly rackId: string | null
}

/** All topics whose whole name matches (RE2 syntax; matched by the broker, those that are made later too). */
export interface TopicPattern {
  readonly pattern: string | RegExp
}

export interface RetryOptions {
  /** How often a record is tried at all, the first time included. */
  readonly attempts: number
  /** Before the second attempt; it doubles, with jitter, up to backoffMsMax. Default 100. */
  readonly backoff?: Duration
  /** Default 30,000. */
  readonly backoffMsMax?: Duration
}

export interface RunOptions {
  /** Handlers at a time. Default 1. */
  readonly concurrency?: number
  /** What is handled one after the other: the records of a partition (default), those of a key within it, or none. */
  readonly order?: 'partition' | 'key' | 'none'
  /** Default: one attempt. */
  readonly retry?: RetryOptions
  /** Where a record goes that has failed for good. Without it, run() rejects with the handler's error. */
  readonly deadLetter?: TopicLike
}

/** What a handler is told beside the record. */
export interface HandlerContext {
  /** From 1. */
  readonly attempt: number
  /** Fires when the partition is lost: what is done for the record now, another member does too. */
  readonly signal: AbortSignal
}

export interface ResolvedRunOptions {
  readonly concurrency: number
  readonly order: 'partition' | 'key' | 'none'
  readonly attempts: number
  readonly backoff: { readonly delayMsMin: number; readonly delayMsMax: number }
}

const DAY_MS = 86_400_000
/** Records of a partition that run() takes and that are not all handled. */
export const WINDOW_RECORDS_MAX = 10_000

export function resolveGroupOptions(options: GroupOptions): ResolvedGroupOptions {
  const names = ['at-most-once', 'at-least-once', 'exactly-once'] as const
  const semantics = checkedChoice('semantics', options.semantics ?? 'at-least-once', names)
  checkTransactional(semantics, options)
  const sessionTimeoutMs = checkedDuration('sessionTimeoutMs', options.sessionTimeoutMs ?? 10_000, 1, DAY_MS)
  const rebalanceTimeoutMs = checkedDuration('rebalanceTimeoutMs', options.rebalanceTimeoutMs ?? 60_000, 1, DAY_MS)
  return {
    ...resolveConsumerOptions(options),
    semantics,
    isAutoCommit: checkedChoice('commit', options.commit ?? 'auto', ['auto', 'manual']) === 'auto',
    transaction: resolveTransactionOptions(options, sessionTimeoutMs),
    autoCommitIntervalMs: checkedDuration('autoCommitIntervalMs', options.autoCommitIntervalMs ?? 5_000, 1, DAY_MS),
    sessionTimeoutMs,
    heartbeatIntervalMs: checkedDuration('heartbeatIntervalMs', options.heartbeatIntervalMs ?? 3_000, 1, DAY_MS),
    rebalanceTimeoutMs,
    pollIntervalMsMax: checkedDuration('pollIntervalMsMax', options.pollIntervalMsMax ?? 300_000, 1, DAY_MS),
    closeTimeoutMs: checkedDuration('closeTimeoutMs', options.closeTimeoutMs ?? rebalanceTimeoutMs, 0, DAY_MS),
    instanceId: checkedName('instanceId', options.instanceId),
    assignor: checkedName('assignor', options.assignor),
    rackId: checkedName('rackId', options.rackId),
  }
}

/**
 * Whose transactions an exactly-once member's are: what it was given, else a name of its group and instance that no other group and
 * instance make, else one that nobody else has. Throws INVALID_ARGUMENT where that is too long.
 */
export function transactionalIdOf(groupId: string, memberId: string, options: ResolvedGroupOptions): string {
  const { instanceId, transaction } = options
  if (transaction.transactionalId !== undefined) return transaction.transactionalId
  const id = `${escaped(groupId)}/${escaped(instanceId ?? memberId)}`
  const bytes = utf8Bytes(id)
  if (bytes <= TRANSACTIONAL_ID_BYTES_MAX) return id
  if (instanceId === null) return memberId // nobody else has that, either
  throw new MillraceError(
    'INVALID_ARGUMENT',
    `transactionalId: group id and instanceId make one of ${bytes} bytes ('${id.slice(0, 40)}…'), of ${TRANSACTIONAL_ID_BYTES_MAX} at most; ` +
      'give the member one of its own, a name that it has in each of its lives',
  )
}

/** The '/' between the parts is the only one. */
function escaped(part: string): string {
  return part.replace(/[%/]/g, (char) => (char === '%' ? '%25' : '%2F'))
}

/** Options that say nothing, or contradict each other, are told. */
function checkTransactional(semantics: string, options: GroupOptions): void {
  const isExactlyOnce = semantics === 'exactly-once'
  if (!isExactlyOnce && (options.transaction !== undefined || options.transactionalId !== undefined))
    throw new MillraceError(
      'INVALID_ARGUMENT',
      `transaction and transactionalId go with semantics 'exactly-once', not '${semantics}'`,
    )
  if (!isExactlyOnce) return
  if (options.commit !== undefined)
    throw new MillraceError(
      'INVALID_ARGUMENT',
      "commit: with semantics 'exactly-once' offsets are part of transactions",
    )
  if (options.isolation === 'read_uncommitted')
    throw new MillraceError(
      'INVALID_ARGUMENT',
      "isolation: with semantics 'exactly-once' it is 'read_committed': what was aborted would be handled, too",
    )
}

function resolveTransactionOptions(options: GroupOptions, sessionTimeoutMs: number): ResolvedTransactionOptions {
  const { transaction = {}, transactionalId, instanceId } = options
  const timeoutMs = checkedDuration('transaction.timeoutMs', transaction.timeoutMs ?? sessionTimeoutMs, 1, DAY_MS)
  return {
    transactionalId: transactionalId === undefined ? undefined : checkedTransactionalId(transactionalId),
    isOwnId: transactionalId === undefined && instanceId === undefined,
    recordsMax: checkedInteger('transaction.recordsMax', transaction.recordsMax ?? 1_000, 1, WINDOW_RECORDS_MAX),
    ms: checkedDuration('transaction.ms', transaction.ms ?? Math.min(100, timeoutMs), 0, timeoutMs),
    timeoutMs,
  }
}

export function resolveRunOptions(options: RunOptions): ResolvedRunOptions {
  const { retry } = options
  return {
    concurrency: checkedInteger('concurrency', options.concurrency ?? 1, 1, 100_000),
    order: checkedChoice('order', options.order ?? 'partition', ['partition', 'key', 'none']),
    attempts: checkedInteger('retry.attempts', retry?.attempts ?? 1, 1, 2 ** 31 - 1),
    backoff: {
      delayMsMin: checkedDuration('retry.backoff', retry?.backoff ?? 100, 0, DAY_MS),
      delayMsMax: checkedDuration('retry.backoffMsMax', retry?.backoffMsMax ?? 30_000, 0, DAY_MS),
    },
  }
}

/** A group id of 1 to GROUP_ID_BYTES_MAX bytes. Throws INVALID_GROUP_ID. */
export function checkedGroupId(groupId: string): string {
  const bytes = typeof groupId === 'string' ? utf8Bytes(groupId) : 0
  if (bytes >= 1 && bytes <= GROUP_ID_BYTES_MAX) return groupId
  throw new MillraceError('INVALID_GROUP_ID', `a group id has 1 to ${GROUP_ID_BYTES_MAX} bytes, not ${bytes}`)
}

/** A pattern as the broker takes it. Throws INVALID_ARGUMENT for flags, which it does not take. */
export function checkedPattern(pattern: string | RegExp): string {
  const text = typeof pattern === 'string' ? pattern : pattern.source
  const flags = typeof pattern === 'string' ? '' : pattern.flags.replace(/[uv]/, '')
  if (flags !== '')
    throw new MillraceError(
      'INVALID_ARGUMENT',
      `pattern: flags ('${flags}') are not told to the broker; write (?i) in a text`,
    )
  if (text === '') throw new MillraceError('INVALID_ARGUMENT', 'pattern: it is empty')
  return text
}

function checkedName(option: string, name: string | undefined): string | null {
  if (name === undefined) return null
  const bytes = typeof name === 'string' ? utf8Bytes(name) : 0
  if (bytes >= 1 && bytes <= GROUP_NAME_BYTES_MAX) return name
  throw new MillraceError('INVALID_ARGUMENT', `${option}: expected text of 1 to ${GROUP_NAME_BYTES_MAX} bytes`)
}

const encoder = new TextEncoder()

function utf8Bytes(text: string): number {
  return encoder.encode(text).length
}
