/** TransactionChecker: what must hold, looked at from outside: in what is durable, and in what producers were told. README.md lists it. */
import assert from 'node:assert/strict'
import { isPreparing, outcomeOf, type ProducerIdentity, type TransactionFacts } from '../../../src/transaction/index.ts'
import type { SimulatedPartition } from './simulated-partition.ts'
import type { Attempt, SimulatedProducer } from './simulated-producer.ts'

/** A transaction is open at a partition for its timeout, and then until its markers come. */
const OPEN_BOUND_MS = 8_000

export class TransactionChecker {
  readonly #partitions: readonly SimulatedPartition[]
  readonly #attempts: readonly Attempt[]
  readonly #timeoutMsMax: number
  /** `id/epoch` of markers -> outcome, as it became durable. */
  readonly #decided = new Map<string, 'commit' | 'abort'>()
  readonly #epochs = new Map<number, number>()
  readonly #owners = new Map<string, SimulatedProducer>()
  /** Since when each partition's last stable offset stands, and where. */
  readonly #standing: { offset: number; sinceMs: number }[] = []
  #troubleMs = 0

  constructor(partitions: readonly SimulatedPartition[], attempts: readonly Attempt[], timeoutMsMax: number) {
    this.#partitions = partitions
    this.#attempts = attempts
    this.#timeoutMsMax = timeoutMsMax
  }

  trouble(nowMs: number): void {
    this.#troubleMs = nowMs
  }

  /** A record of the coordinator became durable. */
  durable(facts: TransactionFacts | null): void {
    if (facts === null) return
    const { producerId, producerEpoch } = facts
    assert.ok(producerEpoch >= (this.#epochs.get(producerId) ?? 0), `the epoch of producer ${producerId} falls`)
    this.#epochs.set(producerId, producerEpoch)
    const outcome = outcomeOf(facts)
    if (outcome === undefined || !isPreparing(facts)) return
    const key = `${producerId}/${producerEpoch}`
    assert.equal(this.#decided.get(key) ?? outcome, outcome, `the outcome of ${key} has changed`)
    this.#decided.set(key, outcome)
  }

  identity(producer: SimulatedProducer, { producerId, producerEpoch }: ProducerIdentity, how: 'init' | 'end'): void {
    const key = `${producerId}/${producerEpoch}`
    const owner = this.#owners.get(key)
    assert.ok(owner === undefined || owner === producer, `${key} was given to ${owner?.name} and to ${producer.name}`)
    assert.ok(owner === undefined || how === 'end', `${key} was given twice by init-producer-id`)
    this.#owners.set(key, producer)
  }

  /** After every event: what was told is decided, and nothing stands still for too long. */
  check(nowMs: number): void {
    for (const partition of this.#partitions) {
      const offset = partition.lastStableOffset
      const standing = (this.#standing[partition.partition] ??= { offset, sinceMs: nowMs })
      if (offset === partition.highWatermark || offset !== standing.offset) {
        standing.offset = offset
        standing.sinceMs = nowMs
      }
      const sinceMs = Math.max(standing.sinceMs, this.#troubleMs)
      const open = `the last stable offset ${offset} of partition ${partition.partition} stands since ${standing.sinceMs}`
      assert.ok(nowMs <= sinceMs + this.#timeoutMsMax + OPEN_BOUND_MS, open)
    }
  }

  told(attempt: Attempt): void {
    if (attempt.batches.size === 0) return
    const decided = this.#outcomeOf(attempt)
    assert.equal(decided, attempt.told, `transaction ${attempt.transaction} was told ${attempt.told}`)
  }

  checkEnd(): void {
    for (const { partition, transactions, lastStableOffset, log } of this.#partitions) {
      assert.equal(transactions.count, 0, `partition ${partition} has open transactions`)
      assert.equal(lastStableOffset, log.length, `partition ${partition} is not stable to its end`)
    }
    const visible = new Map<number, Map<number, number>>()
    for (const partition of this.#partitions) this.#readCommitted(partition, visible)
    for (const attempt of this.#attempts) this.#checkAttempt(attempt, visible.get(attempt.transaction))
  }

  #outcomeOf({ producerId, producerEpoch }: Attempt): 'commit' | 'abort' | undefined {
    return this.#decided.get(`${producerId}/${producerEpoch + 1}`)
  }

  #checkAttempt(attempt: Attempt, visible: ReadonlyMap<number, number> | undefined): void {
    const name = `transaction ${attempt.transaction} of ${attempt.producerId}/${attempt.producerEpoch}`
    const isCommitted = this.#outcomeOf(attempt) === 'commit'
    assert.ok(!isCommitted || attempt.isCommitAsked, `${name} was committed, which nobody had asked for`)
    if (attempt.told === 'commit') assert.ok(isCommitted, `${name} was told to be committed`)
    if (attempt.told === 'abort') assert.ok(!isCommitted, `${name} was told to be aborted`)
    const expected = isCommitted ? [...attempt.batches].sort() : []
    assert.deepEqual([...(visible ?? [])].sort(), expected, `what is visible of ${name}, per partition`)
  }

  /** A reader's view of the log, made without the producer state. Counts what it delivers, per transaction and partition. */
  #readCommitted({ partition, log }: SimulatedPartition, visible: Map<number, Map<number, number>>): void {
    const open = new Map<number, number[]>()
    const epochs = new Map<number, number>()
    const seen = new Set<string>()
    for (const { producerId, producerEpoch, baseSequence, transaction, marker } of log) {
      const where = `partition ${partition}, producer ${producerId}/${producerEpoch}`
      assert.ok(producerEpoch >= (epochs.get(producerId) ?? 0), `${where}: its epoch falls in the log`)
      epochs.set(producerId, producerEpoch)
      const batches = open.get(producerId) ?? []
      if (marker === undefined) {
        const key = `${producerId}/${producerEpoch}/${baseSequence}`
        assert.ok(!seen.has(key), `${where}: sequence ${baseSequence} is there twice`)
        seen.add(key)
        if (batches.length > 0) assert.equal(batches[0], transaction, `${where}: a batch lies in another's transaction`)
        open.set(producerId, [...batches, transaction])
        continue
      }
      const outcome = this.#decided.get(`${producerId}/${producerEpoch}`)
      assert.equal(marker.type === 'COMMIT' ? 'commit' : 'abort', outcome, `${where}: a marker`)
      open.delete(producerId)
      if (marker.type !== 'COMMIT') continue
      for (const each of batches) {
        const counts = visible.get(each) ?? new Map<number, number>()
        visible.set(each, counts.set(partition, (counts.get(partition) ?? 0) + 1))
      }
    }
  }
}
