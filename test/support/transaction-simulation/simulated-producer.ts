/**
 * SimulatedProducer: one transactional producer: init, then transaction after transaction. It asks again what is not answered, gives up
 * what it may give up (its next requests overtake it then), hangs, dies, and remembers what it was told.
 */
import assert from 'node:assert/strict'
import type { Prng } from '../../../src/base/prng.ts'
import type { ErrorCode } from '../../../src/model/errors.ts'
import type { ProducerIdentity } from '../../../src/transaction/index.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'
import type { Network } from './network.ts'
import type { SimulatedCoordinator, Told } from './simulated-coordinator.ts'
import type { SimulatedPartition } from './simulated-partition.ts'

const AGAIN_MS = 400
const BATCHES_MAX = 4

/** What a producer knows of a transaction of its own. */
export interface Attempt extends ProducerIdentity {
  readonly transaction: number
  /** Partition -> batches sent to it, all of them acknowledged before a commit is asked for. */
  readonly batches: Map<number, number>
  isCommitAsked: boolean
  told: 'commit' | 'abort' | 'fenced' | undefined
}

export interface ProducerWorld {
  readonly queue: EventQueue
  readonly prng: Prng
  readonly network: Network
  readonly coordinator: SimulatedCoordinator
  readonly partitions: readonly SimulatedPartition[]
  readonly attempts: Attempt[]
  /** An identity was told to this producer. */
  readonly onIdentity: (producer: SimulatedProducer, identity: ProducerIdentity, how: 'init' | 'end') => void
  /** The producer was told how it ended. */
  readonly onTold: (attempt: Attempt) => void
  readonly onEvent: (what: string, producer: SimulatedProducer) => void
}

const FENCING: readonly ErrorCode[] = ['PRODUCER_FENCED', 'INVALID_PRODUCER_ID_MAPPING', 'INVALID_PRODUCER_EPOCH']
const PASSING: readonly ErrorCode[] = ['CONCURRENT_TRANSACTIONS', 'NOT_LEADER_OR_FOLLOWER']

export class SimulatedProducer {
  readonly name: string
  readonly transactionalId: string
  readonly timeoutMs: number
  isDead = false
  /** It begins nothing more. */
  isStopping = false
  #hangsUntilMs = 0
  /** Of what it does now: answers to anything before are not heard any more. */
  #task = 0
  #identity: ProducerIdentity = { producerId: -1, producerEpoch: -1 }
  #attempt: Attempt | undefined
  readonly #world: ProducerWorld

  constructor(
    world: ProducerWorld,
    plan: { readonly name: string; readonly transactionalId: string; readonly timeoutMs: number },
  ) {
    this.name = plan.name
    this.transactionalId = plan.transactionalId
    this.timeoutMs = plan.timeoutMs
    this.#world = world
    this.#init()
  }

  get identity(): ProducerIdentity {
    return this.#identity
  }

  hang(ms: number): void {
    this.#hangsUntilMs = Math.max(this.#hangsUntilMs, this.#world.queue.nowMs + ms)
  }

  die(): void {
    this.isDead = true
    this.#task = -1
  }

  #init(): void {
    this.#attempt = undefined
    const { transactionalId, timeoutMs } = this
    const request = { transactionalId, timeoutMs, producerId: -1, producerEpoch: -1, isClassic: false }
    this.#request<Told>(
      (answer) => this.#world.coordinator.init(request, answer),
      (told) => {
        if (typeof told === 'string') {
          assert.ok(PASSING.includes(told), `init-producer-id was refused: ${told}`)
          this.#after(50, () => this.#init())
          return
        }
        this.#take(told, 'init')
        this.#begin()
      },
    )
  }

  #begin(): void {
    if (this.isStopping) return
    const { prng, partitions, attempts } = this.#world
    const attempt: Attempt = {
      ...{ ...this.#identity, transaction: attempts.length, batches: new Map() },
      ...{ isCommitAsked: false, told: undefined },
    }
    attempts.push(attempt)
    this.#attempt = attempt
    const chosen = partitions.map(({ partition }) => partition).filter(() => prng.below(2) === 0)
    if (chosen.length === 0) chosen.push(0)
    const draw = prng.below(100)
    if (draw < 5) {
      // It gives up while the addition is on its way.
      this.#world.onEvent('add given up', this)
      this.#add(chosen, () => {})
      this.#end(false)
      return
    }
    const isCommit = draw < 75
    // A transaction may grow: one partition after the other, or all at once.
    const pieces = prng.below(2) === 0 ? [chosen] : chosen.map((partition) => [partition])
    this.#write(attempt, pieces, isCommit)
  }

  #write(attempt: Attempt, pieces: number[][], isCommit: boolean): void {
    const [piece, ...rest] = pieces
    if (piece === undefined) {
      this.#end(isCommit)
      return
    }
    const { prng } = this.#world
    this.#add(piece, () => {
      // An abort need not wait for what it wrote.
      if (!isCommit && prng.below(3) === 0) this.#after(prng.below(20), () => this.#end(false))
      let left = piece.length
      for (const partition of piece)
        this.#produce(attempt, partition, 1 + prng.below(BATCHES_MAX), () => {
          if (--left === 0) this.#write(attempt, rest, isCommit)
        })
    })
  }

  #add(partitions: readonly number[], then: () => void): void {
    const { transactionalId } = this
    const request = { transactionalId, ...this.#identity, partitions }
    this.#request<ErrorCode>(
      (answer) => this.#world.coordinator.add(request, answer),
      (error) => {
        if (error === 'NONE') then()
        else if (FENCING.includes(error)) this.#fenced(error)
        else {
          assert.ok(PASSING.includes(error), `add-partitions-to-txn was refused: ${error}`)
          this.#after(30, () => this.#add(partitions, then))
        }
      },
      false,
    )
  }

  #produce(attempt: Attempt, partition: number, count: number, then: () => void): void {
    const sequence = attempt.batches.get(partition) ?? 0
    const { transaction, producerId, producerEpoch } = attempt
    attempt.batches.set(partition, sequence + 1)
    const sent = { transaction, producerId, producerEpoch, sequence }
    const send = (): void =>
      this.#request<ErrorCode>(
        (answer) => this.#world.partitions[partition]!.produce(sent, answer),
        (error) => {
          if (error === 'NONE') {
            if (count > 1) this.#produce(attempt, partition, count - 1, then)
            else then()
          } else if (error === 'INVALID_TXN_STATE') {
            this.#world.onEvent('registration lost', this)
            this.#add([partition], send)
          } else if (FENCING.includes(error)) this.#fenced(error)
          else {
            assert.ok(PASSING.includes(error), `a batch of ${this.name} was refused: ${error}`)
            this.#after(30, send)
          }
        },
        false,
      )
    send()
  }

  #end(isCommit: boolean): void {
    const attempt = this.#attempt!
    // What is still on its way is not waited for any more.
    this.#task++
    if (isCommit) attempt.isCommitAsked = true
    const request = { transactionalId: this.transactionalId, ...this.#identity, isCommit }
    this.#request<Told>(
      (answer) => this.#world.coordinator.end(request, answer),
      (told) => {
        if (typeof told !== 'string') {
          attempt.told = isCommit ? 'commit' : 'abort'
          this.#world.onTold(attempt)
          this.#world.onEvent(`told ${attempt.told}`, this)
          this.#take(told, 'end')
          if (this.#world.prng.below(20) === 0) this.#askOther(attempt, !isCommit)
          this.#after(this.#world.prng.below(400), () => this.#begin())
        } else if (FENCING.includes(told)) this.#fenced(told)
        else {
          assert.ok(PASSING.includes(told), `end-txn (commit ${isCommit}) of ${this.name} was refused: ${told}`)
          this.#after(30, () => this.#end(isCommit))
        }
      },
    )
  }

  /** It has lost its mind: what was decided stays so. */
  #askOther({ producerId, producerEpoch, transaction }: Attempt, isCommit: boolean): void {
    const { transactionalId } = this
    this.#world.onEvent('other outcome', this)
    this.#world.network.send(() =>
      this.#world.coordinator.end({ transactionalId, producerId, producerEpoch, isCommit }, (told) => {
        assert.equal(typeof told, 'string', `the other outcome of transaction ${transaction} was taken`)
      }),
    )
  }

  #fenced(error: ErrorCode): void {
    this.#world.onEvent(error, this)
    if (this.#attempt !== undefined) this.#attempt.told ??= 'fenced'
    this.#task++
    this.#after(this.#world.prng.below(3_000), () => this.#init())
  }

  #take(identity: ProducerIdentity, how: 'init' | 'end'): void {
    this.#identity = identity
    this.#world.onIdentity(this, identity, how)
  }

  /** Sends until it is answered, or something else is done. `isNew`: what was under way before is not heard of any more. */
  #request<Reply>(deliver: (answer: (reply: Reply) => void) => void, then: (reply: Reply) => void, isNew = true): void {
    const { queue, network } = this.#world
    if (isNew) this.#task++
    const task = this.#task
    let isAnswered = false
    const send = (): void => {
      if (isAnswered || task !== this.#task) return
      if (queue.nowMs < this.#hangsUntilMs) {
        queue.after(this.#hangsUntilMs - queue.nowMs, send)
        return
      }
      network.send(() =>
        deliver((reply) =>
          network.send(() =>
            this.#whenAwake(() => {
              if (isAnswered || task !== this.#task) return
              isAnswered = true
              then(reply)
            }),
          ),
        ),
      )
      queue.after(AGAIN_MS, send)
    }
    send()
  }

  #after(ms: number, run: () => void): void {
    const task = this.#task
    this.#world.queue.after(ms, () =>
      this.#whenAwake(() => {
        if (task === this.#task) run()
      }),
    )
  }

  #whenAwake(run: () => void): void {
    const { queue } = this.#world
    if (this.isDead) return
    if (queue.nowMs >= this.#hangsUntilMs) run()
    else queue.after(this.#hangsUntilMs - queue.nowMs, () => this.#whenAwake(run))
  }
}
