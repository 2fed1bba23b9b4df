/**
 * A small, right model of a log with transactions, and clients of it that write down what they did and saw: clean histories
 * for the checker, from a seed.
 *
 * Clients     a producer without transactions; producers with them, some of which are abandoned (zombies) or in doubt; workers
 *             that consume `in` and produce `out`; readers of both isolations that seek; a group that commits and seeks
 * Order       a transaction is decided some time between its end being asked for and the answer, or later where the answer is `info`
 */
import { SeededPrng } from '../../src/base/prng.ts'
import type { HistoryOperation, HistoryRecord } from '../../src/tools/history.ts'

/** As a writer of histories has it: lines are numbered when it is done. */
export type Unnumbered = HistoryOperation extends infer Operation
  ? Operation extends HistoryOperation
    ? Omit<Operation, 'line'>
    : never
  : never

export type Ending = 'none' | 'commit ok' | 'commit info' | 'commit fail' | 'abort ok' | 'abort info'

export interface ModelRecord {
  readonly topic: string
  readonly partition: number
  readonly value: string
  readonly from?: string
  /** -1: not stored. */
  offset: number
  outcome: 'ok' | 'info' | 'fail'
}

export interface ModelTransaction {
  readonly id: string
  readonly process: number
  state: 'open' | 'committed' | 'aborted'
  ending: Ending
  /** What its readers are told of its end. */
  readonly records: ModelRecord[]
  readsUncommitted: boolean
  readonly logs: Set<ModelLog>
  /** partition of `in` -> what it commits for the workers' group */
  readonly offsets: Map<number, number>
}

interface ModelLog {
  readonly topic: string
  readonly partition: number
  /** A marker has no value. */
  readonly entries: { readonly value?: string; readonly transaction: ModelTransaction | undefined }[]
}

interface ReadOptions {
  readonly process: number
  readonly countMax: number
  readonly isolation?: 'read_committed' | 'read_uncommitted'
  readonly transaction?: ModelTransaction
  readonly final?: boolean
}

/** A producer with transactions, between its turns. */
interface Seat {
  readonly process: number
  /** The partition of `in` that it works, undefined for one that only produces. */
  readonly input: number | undefined
  transaction: ModelTransaction | undefined
  sends: number
  mustAbort: boolean
  asked: 'commit' | 'abort' | undefined
}

const STEPS = 120
const PARTITIONS = { in: 2, out: 2, t: 3 }

export class HistoryModel {
  readonly operations: Unnumbered[] = []
  readonly transactions: ModelTransaction[] = []
  /** partition of `in` -> the workers' offset, as it is, and as answers told */
  readonly groupOffsets: number[] = [0, 0]
  readonly toldOffsets: number[] = [0, 0]
  readonly #prng: SeededPrng
  readonly #logs: ModelLog[] = []
  readonly #seats: Seat[] = []
  /** process and log -> next offset to read */
  readonly #positions = new Map<string, number>()
  /** In doubt or abandoned: decided later. */
  #late: { readonly transaction: ModelTransaction; readonly state: 'committed' | 'aborted' }[] = []
  #serial = 0
  #spareOffset = 0

  constructor(seed: number) {
    this.#prng = new SeededPrng(seed)
    for (const [topic, count] of Object.entries(PARTITIONS))
      for (let partition = 0; partition < count; partition++) this.#logs.push({ topic, partition, entries: [] })
    for (const [process, input] of [
      [2, undefined],
      [3, undefined],
      [4, 0],
      [5, 1],
    ] as const)
      this.#seats.push({ process, input, transaction: undefined, sends: 0, mustAbort: false, asked: undefined })
    for (let step = 0; step < STEPS; step++) this.#step()
    this.#finish()
  }

  #chance(percent: number): boolean {
    return this.#prng.below(100) < percent
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[this.#prng.below(items.length)]!
  }

  #log(topic: string): ModelLog {
    return this.#pick(this.#logs.filter((log) => log.topic === topic))
  }

  #step(): void {
    const turn = this.#prng.below(20)
    if (turn < 3) this.#send(1, this.#log(this.#pick(['in', 't'])), undefined)
    else if (turn < 12) this.#advance(this.#pick(this.#seats), true)
    else if (turn < 18) this.#readSomething()
    else if (turn < 19) this.#commitSpareOffset()
    else this.#decideLate()
  }

  /** Everything is decided, worked and read. */
  #finish(): void {
    for (const seat of this.#seats) while (seat.transaction !== undefined) this.#advance(seat, false)
    while (this.#late.length > 0) this.#decideLate()
    for (const seat of this.#seats.slice(2))
      for (let idle = 0; idle < 3; idle = this.#unworked(seat.input!) ? 0 : idle + 1) this.#advance(seat, false)
    for (const seat of this.#seats) while (seat.transaction !== undefined) this.#advance(seat, false)
    while (this.#late.length > 0) this.#decideLate()
    for (const log of this.#logs) {
      if (this.#chance(30)) this.#read(log, { process: 41, countMax: 1e9, isolation: 'read_uncommitted', final: true })
      while (this.#read(log, { process: 40, countMax: 7, final: true }) > 0);
    }
    this.operations.push({ process: 9, type: 'ok', f: 'drained', input: 'in', output: 'out' })
  }

  // --- the log

  #append(log: ModelLog, value: string, transaction: ModelTransaction | undefined): number {
    transaction?.logs.add(log)
    return log.entries.push({ value, transaction }) - 1
  }

  #decide(transaction: ModelTransaction, state: 'committed' | 'aborted'): void {
    if (transaction.state !== 'open') return
    transaction.state = state
    for (const log of transaction.logs) log.entries.push({ transaction: undefined })
    if (state === 'committed')
      for (const [partition, offset] of transaction.offsets) this.groupOffsets[partition] = offset
  }

  #decideLate(): void {
    const [first, ...others] = this.#late
    if (first === undefined) return
    this.#late = others
    this.#decide(first.transaction, first.state)
    // The zombie wakes up, and is fenced.
    const { transaction } = first
    if (transaction.ending !== 'none' || this.#chance(40)) return
    const { process, id: txn } = transaction
    this.#noteSend(
      transaction,
      { topic: 't', partition: 0, value: `v${this.#serial++}`, offset: -1, outcome: 'fail' },
      process,
    )
    this.operations.push({ process, type: 'invoke', f: 'commit', txn }, { process, type: 'fail', f: 'commit', txn })
    transaction.ending = 'commit fail'
  }

  /** What a reader may see from its position on, at most countMax records. */
  #visible(log: ModelLog, from: number, { countMax, isolation }: ReadOptions): HistoryRecord[] {
    const isCommitted = isolation !== 'read_uncommitted'
    const records: HistoryRecord[] = []
    for (let offset = from; offset < log.entries.length && records.length < countMax; offset++) {
      const { value, transaction } = log.entries[offset]!
      if (isCommitted && transaction?.state === 'open') break
      if (value === undefined || (isCommitted && transaction?.state === 'aborted')) continue
      records.push({ topic: log.topic, partition: log.partition, offset, value })
    }
    return records
  }

  // --- readers

  #read(log: ModelLog, options: ReadOptions): number {
    const { process, isolation, transaction, final = false } = options
    const key = `${process} ${log.topic} ${log.partition}`
    const records = this.#visible(log, this.#positions.get(key) ?? 0, options)
    const extra = { ...(isolation && { isolation }), ...(transaction && { txn: transaction.id }) }
    this.operations.push({ process, type: 'ok', f: 'poll', records, final, ...extra })
    if (records.length > 0) this.#positions.set(key, records.at(-1)!.offset! + 1)
    if (transaction !== undefined && isolation === 'read_uncommitted') transaction.readsUncommitted = true
    return records.length
  }

  #readSomething(): void {
    const process = 10 + this.#prng.below(3)
    if (this.#chance(8)) {
      this.#assign(
        process,
        this.#logs.map((log) => ({ log, offset: this.#prng.below(log.entries.length + 1) })),
      )
      return
    }
    const isolation = process === 12 ? 'read_uncommitted' : 'read_committed'
    this.#read(this.#pick(this.#logs), { process, isolation, countMax: 1 + this.#prng.below(5) })
  }

  #assign(process: number, positions: readonly { readonly log: ModelLog; readonly offset: number }[]): void {
    for (const { log, offset } of positions) this.#positions.set(`${process} ${log.topic} ${log.partition}`, offset)
    this.operations.push({
      ...{ process, type: 'ok', f: 'assign' },
      positions: positions.map(({ log: { topic, partition }, offset }) => ({ topic, partition, offset })),
    })
  }

  /** Of another group, outside transactions. */
  #commitSpareOffset(): void {
    const seek = this.#chance(30)
    this.#spareOffset = seek ? this.#prng.below(this.#spareOffset + 1) : this.#spareOffset + this.#prng.below(4)
    const positions = [{ topic: 't', partition: 0, offset: this.#spareOffset }]
    const base = { process: 6, f: 'commitOffsets', group: 'spare', seek } as const
    this.operations.push({ ...base, type: 'invoke', positions })
    this.operations.push({ ...base, type: this.#chance(15) ? 'info' : 'ok', positions: [] })
  }

  // --- producers

  /** Whether it is certainly stored. */
  #send(process: number, log: ModelLog, transaction: ModelTransaction | undefined, from?: string): boolean {
    const fate = this.#prng.below(100)
    const outcome = fate < 88 ? 'ok' : fate < 95 ? 'info' : 'fail'
    const value = `v${this.#serial++}`
    const isStored = outcome === 'ok' || (outcome === 'info' && this.#chance(50))
    const offset = isStored ? this.#append(log, value, transaction) : -1
    const { topic, partition } = log
    const record = { topic, partition, value, offset, outcome, ...(from !== undefined && { from }) } as const
    this.#noteSend(transaction, record, process)
    return outcome === 'ok'
  }

  #noteSend(transaction: ModelTransaction | undefined, record: ModelRecord, process: number): void {
    const { offset, outcome, ...sent } = record
    const { from: _, ...place } = sent
    transaction?.records.push(record)
    const txn = transaction && { txn: transaction.id }
    this.operations.push({ process, type: 'invoke', f: 'send', records: [sent], ...txn })
    const told = outcome === 'ok' && (transaction === undefined || !this.#chance(10)) ? { ...place, offset } : place
    this.operations.push({ process, type: outcome, f: 'send', records: [told], ...(this.#chance(50) && txn) })
  }

  /** One turn of a producer with transactions. */
  #advance(seat: Seat, mayBegin: boolean): void {
    const { transaction } = seat
    if (transaction === undefined) this.#begin(seat, mayBegin)
    else if (seat.asked !== undefined) this.#answer(seat, transaction, seat.asked)
    else if (transaction.ending !== 'none')
      seat.transaction = transaction.state === 'open' ? this.#wait(transaction) : undefined
    else if (seat.sends > 0) this.#work(seat, transaction)
    else if (seat.input === undefined && mayBegin && this.#chance(8)) {
      this.#late.push({ transaction, state: 'aborted' })
      seat.transaction = undefined
    } else this.#ask(seat, transaction)
  }

  /** In doubt: its producer goes on when it is decided. */
  #wait(transaction: ModelTransaction): ModelTransaction {
    if (this.#chance(50)) this.#decideLate()
    return transaction
  }

  #unworked(input: number): boolean {
    const log = this.#logs.find(({ topic, partition }) => topic === 'in' && partition === input)!
    return this.#visible(log, this.groupOffsets[input]!, { process: 0, countMax: 1 }).length > 0
  }

  #begin(seat: Seat, mayBegin: boolean): void {
    const { process, input } = seat
    if (input === undefined ? !mayBegin : !this.#unworked(input)) return
    const transaction: ModelTransaction = {
      ...{ id: `x${this.transactions.length}`, process, state: 'open', ending: 'none', records: [] },
      ...{ readsUncommitted: false, logs: new Set(), offsets: new Map() },
    }
    this.transactions.push(transaction)
    Object.assign(seat, { transaction, sends: 1 + this.#prng.below(4), mustAbort: false, asked: undefined })
    if (this.#chance(50)) this.operations.push({ process, type: 'invoke', f: 'begin', txn: transaction.id })
    this.operations.push({ process, type: 'ok', f: 'begin', txn: transaction.id })
  }

  #work(seat: Seat, transaction: ModelTransaction): void {
    const { process, input } = seat
    seat.sends--
    if (input !== undefined) this.#transform(seat, transaction, input)
    else if (this.#chance(25)) {
      const isolation = this.#chance(25) ? 'read_uncommitted' : 'read_committed'
      const reader = isolation === 'read_committed' ? process : process + 30
      this.#read(this.#log('t'), { process: reader, isolation, transaction, countMax: 3 })
    } else this.#send(process, this.#log(this.#pick(['in', 't', 't'])), transaction)
  }

  /** All of one transaction's inputs at once. */
  #transform(seat: Seat, transaction: ModelTransaction, input: number): void {
    const { process } = seat
    seat.sends = 0
    const log = this.#logs.find(({ topic, partition }) => topic === 'in' && partition === input)!
    this.#assign(process, [{ log, offset: this.groupOffsets[input]! }])
    const records = this.#visible(log, this.groupOffsets[input]!, { process, countMax: 4 })
    this.#read(log, { process, transaction, countMax: 4 })
    for (const { value } of records)
      if (!this.#send(process, this.#log('out'), transaction, value)) seat.mustAbort = true
    const offset = records.at(-1)!.offset! + 1
    transaction.offsets.set(input, offset)
    const base = { process, f: 'commitOffsets', txn: transaction.id, group: 'workers', seek: false } as const
    this.operations.push({ ...base, type: 'invoke', positions: [{ topic: 'in', partition: input, offset }] })
    this.operations.push({ ...base, type: 'ok', positions: [] })
  }

  #ask(seat: Seat, transaction: ModelTransaction): void {
    seat.asked = seat.mustAbort || this.#chance(15) ? 'abort' : 'commit'
    this.operations.push({ process: seat.process, type: 'invoke', f: seat.asked, txn: transaction.id })
    const outcome = this.#prng.below(100)
    if (seat.asked === 'abort') transaction.ending = outcome < 80 ? 'abort ok' : 'abort info'
    else transaction.ending = outcome < 70 ? 'commit ok' : outcome < 88 ? 'commit info' : 'commit fail'
    // Others may see what came of it before its producer does.
    if (this.#chance(50)) this.#decideAsAsked(transaction)
  }

  #decideAsAsked(transaction: ModelTransaction): void {
    const isCommitted = transaction.ending === 'commit ok' || (transaction.ending === 'commit info' && this.#chance(60))
    this.#decide(transaction, isCommitted ? 'committed' : 'aborted')
  }

  #answer(seat: Seat, transaction: ModelTransaction, asked: 'commit' | 'abort'): void {
    const type = transaction.ending.split(' ')[1] as 'ok' | 'fail' | 'info'
    if (type !== 'info') this.#decideAsAsked(transaction)
    else if (transaction.state === 'open')
      this.#late.push({ transaction, state: asked === 'commit' && this.#chance(60) ? 'committed' : 'aborted' })
    this.operations.push({ process: seat.process, type, f: asked, txn: transaction.id })
    seat.asked = undefined
    if (transaction.ending !== 'commit ok') return
    for (const [partition, offset] of transaction.offsets) this.toldOffsets[partition] = offset
  }
}
