/**
 * GroupRunner: run(): several records at a time with their handlers, in the order that was asked for, with retries and dead letters.
 *
 *   order         what is handled one after the other                      what a record that fails holds up
 *   'partition'   the records of a partition                               its partition
 *   'key'         the records of a key within a partition                  its key
 *   'none'        nothing                                                  nothing
 *
 * States      a record: queued behind its lane -> due -> running -> (asleep -> due ->) handled | dropped with its partition
 * Invariants  N1 at most one record of a lane is due, running or asleep                        checked in: #admit()
 *             N2 a record ends (and so may be committed) when its handler has returned and its promise is fulfilled, or its dead
 *                letter is stored
 *             N3 nothing of a partition begins once it is on its way out
 * Limits      `concurrency` handlers; WINDOW_RECORDS_MAX records of a partition taken and not all handled, and its share of bytes: one that
 *             fails long enough holds its partition up there
 * Failure     no attempt left and no dead letter topic, or a dead letter that cannot be stored: run() rejects with it, nothing more begins
 */
import { backoffMs } from '../backoff.ts'
import type { ClientRuntime, Timer } from '../client-runtime.ts'
import { promiseOf } from '../promise-of.ts'
import type { DecodeRecord } from '../record-decoder.ts'
import type { ConsumedRecord } from '../record-types.ts'
import type { AssignedPartition } from './assigned-partition.ts'
import { type HandlerContext, type ResolvedRunOptions, WINDOW_RECORDS_MAX } from './group-options.ts'
import type { GroupReader } from './group-reader.ts'
import type { HandledOffsets } from './handled-offsets.ts'

export type Handler<Handed, Context = HandlerContext> = (record: Handed, context: Context) => unknown

/** Stores a record that has failed for good; resolves when it is as durable as records are. */
export type DeadLetters = (record: ConsumedRecord, error: unknown, attempts: number) => Promise<void>

export interface RunnerParts<Handed> {
  readonly runtime: ClientRuntime
  readonly reader: GroupReader
  readonly decode: DecodeRecord<Handed>
  readonly deadLetters: DeadLetters | undefined
  readonly isHalted: () => boolean
  /** Ends the group; what is thrown comes out of run(). */
  readonly fail: (error: unknown) => void
  readonly onRetry: (record: ConsumedRecord, error: unknown, attempt: number) => void
  readonly onDeadLetter: (record: ConsumedRecord, error: unknown, attempts: number) => void
  /** Whether records may be taken, beside those that are. */
  readonly mayTake?: () => boolean
  /** A record was taken: it will be handled, or dropped with its partition. */
  readonly onTaken?: (partition: AssignedPartition, offset: number) => void
  /** Everything that could begin has begun. */
  readonly onPumped?: () => void
}

interface Task<Handed> {
  readonly partition: AssignedPartition
  /** Where it was counted when it was taken: after a seek() it counts no more. */
  readonly window: HandledOffsets
  readonly record: ConsumedRecord
  readonly lane: Lane<Handed> | undefined
  handed: Handed | undefined
  attempt: number
  timer: Timer | undefined
  serial: number
}

/** Records that are handled one after the other. */
interface Lane<Handed> {
  readonly partition: AssignedPartition
  readonly key: string
  readonly queued: Task<Handed>[]
}

/** Handlers that return at once let the event loop turn after so many: heartbeats and fetches go on. */
const BURST_RECORDS_MAX = 4_096
const PARTITION_LANE = ''
const latin1 = new TextDecoder('latin1')

export class GroupRunner<Handed> {
  readonly #parts: RunnerParts<Handed>
  readonly #handler: Handler<Handed>
  readonly #options: ResolvedRunOptions
  readonly #lanes = new Map<AssignedPartition, Map<string, Lane<Handed>>>()
  /** Taken, free to run: in the order in which they became so. */
  #due: Task<Handed>[] = []
  readonly #asleep = new Set<Task<Handed>>()
  /** In the order in which they began. */
  readonly #running = new Set<Task<Handed>>()
  #isPumping = false
  #burstTimer: Timer | undefined
  #isStopped = false
  #serial = 0
  #handled = 0

  constructor(parts: RunnerParts<Handed>, handler: Handler<Handed>, options: ResolvedRunOptions) {
    this.#parts = parts
    this.#handler = handler
    this.#options = options
  }

  /** What shows that the oldest handler at work goes on; undefined = none is at work. */
  get progress(): number | undefined {
    for (const task of this.#running) return task.serial
    return undefined
  }

  /** Records whose handling has ended. */
  get count(): number {
    return this.#handled
  }

  /** Every record that was taken has been handled, or dropped. */
  get isIdle(): boolean {
    return this.#running.size === 0 && this.#due.length === 0 && this.#asleep.size === 0
  }

  /** Nothing more begins. */
  stop(): void {
    this.#isStopped = true
  }

  /** Begins what may begin. */
  pump(): void {
    if (this.#isPumping) return
    this.#isPumping = true
    try {
      for (let begun = 0; this.#mayBegin; begun++) {
        if (begun === BURST_RECORDS_MAX) {
          this.#goOnLater()
          break
        }
        const task = this.#due.shift() ?? this.#take()
        if (task === undefined) break
        this.#begin(task)
      }
    } catch (error) {
      this.#fail(error) // a batch that is damaged
    } finally {
      this.#isPumping = false
    }
    this.#parts.onPumped?.()
  }

  get #mayBegin(): boolean {
    return this.#running.size < this.#options.concurrency && !this.#isStopped && !this.#parts.isHalted()
  }

  #goOnLater(): void {
    this.#burstTimer ??= this.#parts.runtime.startTimer(0, () => {
      this.#burstTimer = undefined
      this.pump()
    })
  }

  /** Partitions are on their way out, or go on elsewhere: what has not begun of them does not begin. */
  dropWaiting(partitions: readonly AssignedPartition[]): void {
    for (const partition of partitions) {
      const dropped = [...this.#asleep].filter((task) => task.partition === partition)
      for (const task of dropped) {
        task.timer?.cancel()
        this.#asleep.delete(task)
      }
      dropped.push(...this.#due.filter((task) => task.partition === partition))
      this.#due = this.#due.filter((task) => task.partition !== partition)
      for (const lane of this.#lanes.get(partition)?.values() ?? []) lane.queued.length = 0
      for (const task of dropped) this.#leaveLane(task)
    }
  }

  /** The next record that need not wait for another; those that must are put behind it. */
  #take(): Task<Handed> | undefined {
    for (;;) {
      const pulled = this.#parts.reader.pull(this.#accepts)
      if (pulled === undefined) return undefined
      const task = this.#newTask(pulled.partition, pulled.record)
      if (this.#admit(task)) return task
    }
  }

  readonly #accepts = (partition: AssignedPartition): boolean =>
    this.#parts.mayTake?.() !== false &&
    partition.handled.size < WINDOW_RECORDS_MAX &&
    !(this.#options.order === 'partition' && this.#lanes.get(partition)?.has(PARTITION_LANE) === true)

  #newTask(partition: AssignedPartition, record: ConsumedRecord): Task<Handed> {
    const lane = this.#laneOf(partition, record)
    const handed = undefined
    partition.handled.begin(record.offset)
    this.#parts.onTaken?.(partition, record.offset)
    return { partition, window: partition.handled, record, lane, handed, attempt: 0, timer: undefined, serial: 0 }
  }

  /** Records without a key have no order among them. */
  #laneOf(partition: AssignedPartition, record: ConsumedRecord): Lane<Handed> | undefined {
    const { order } = this.#options
    if (order === 'none' || (order === 'key' && record.key === null)) return undefined
    const key = order === 'key' ? latin1.decode(record.key!) : PARTITION_LANE
    return this.#lanes.get(partition)?.get(key) ?? { partition, key, queued: [] }
  }

  /** False: another of its lane is before it. */
  #admit(task: Task<Handed>): boolean {
    const { lane, partition } = task
    if (lane === undefined) return true
    let lanes = this.#lanes.get(partition)
    if (lanes === undefined) {
      lanes = new Map()
      this.#lanes.set(partition, lanes)
    }
    if (lanes.has(lane.key)) {
      lane.queued.push(task)
      return false
    }
    lanes.set(lane.key, lane)
    return true
  }

  #leaveLane({ lane, partition }: Task<Handed>): void {
    if (lane === undefined) return
    const next = lane.queued.shift()
    if (next !== undefined) {
      this.#due.push(next)
      return
    }
    const lanes = this.#lanes.get(partition)!
    lanes.delete(lane.key)
    if (lanes.size === 0) this.#lanes.delete(partition)
  }

  #begin(task: Task<Handed>): void {
    task.attempt++
    task.serial = ++this.#serial
    this.#running.add(task)
    task.partition.enter()
    let pending: Promise<unknown> | undefined
    try {
      if (task.handed === undefined) task.handed = this.#parts.decode(task.record)
      if (task.handed !== undefined)
        pending = promiseOf(this.#handler(task.handed, { attempt: task.attempt, signal: task.partition.lostSignal }))
    } catch (error) {
      this.#failed(task, error)
      return
    }
    if (pending === undefined) this.#succeeded(task)
    else
      pending.then(
        () => this.#succeeded(task),
        (error: unknown) => this.#failed(task, error),
      )
  }

  #succeeded(task: Task<Handed>): void {
    this.#handled++
    task.partition.ended(task.window, task.record.offset)
    this.#parts.reader.gate(task.partition)
    this.#leave(task)
    this.#leaveLane(task)
    this.pump()
  }

  #leave(task: Task<Handed>): void {
    this.#running.delete(task)
    task.partition.leave()
  }

  #failed(task: Task<Handed>, error: unknown): void {
    const { partition, record, attempt } = task
    const { deadLetters } = this.#parts
    if (partition.state === 'gone') this.#drop(task)
    else if (attempt < this.#options.attempts && task.handed !== undefined) this.#sleep(task, error)
    else if (deadLetters !== undefined) {
      deadLetters(record, error, attempt).then(
        () => {
          this.#parts.onDeadLetter(record, error, attempt)
          this.#succeeded(task)
        },
        (cause: unknown) => this.#giveUp(task, cause),
      )
    } else this.#giveUp(task, error)
  }

  /** Its place among the running is free meanwhile. */
  #sleep(task: Task<Handed>, error: unknown): void {
    const { runtime, onRetry } = this.#parts
    onRetry(task.record, error, task.attempt)
    this.#leave(task)
    if (task.partition.state !== 'active' || task.window !== task.partition.handled || this.#isStopped) {
      this.#leaveLane(task)
      this.pump()
      return
    }
    this.#asleep.add(task)
    task.timer = runtime.startTimer(backoffMs(runtime.prng, task.attempt, this.#options.backoff), () => {
      this.#asleep.delete(task)
      this.#due.push(task)
      this.pump()
    })
    this.pump()
  }

  #drop(task: Task<Handed>): void {
    this.#leave(task)
    this.#leaveLane(task)
    this.pump()
  }

  #giveUp(task: Task<Handed>, error: unknown): void {
    this.#fail(error)
    this.#drop(task)
  }

  #fail(error: unknown): void {
    this.stop()
    this.#parts.fail(error)
  }

  /** Ends the timers of what is asleep. */
  close(): void {
    this.stop()
    this.#burstTimer?.cancel()
    for (const task of this.#asleep) task.timer?.cancel()
    this.#asleep.clear()
  }
}
