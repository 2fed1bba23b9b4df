/**
 * SimulatedCoordinator: the shell of a GroupCoordinator: decisions are appended, durable a while later, and only then answered.
 * A crash loses what was not durable and all replies under way; the next coordinator replays what is left.
 */
import assert from 'node:assert/strict'
import { requireRe2 } from '../../../src/base/node/require-re2.ts'
import type { Prng } from '../../../src/base/prng.ts'
import {
  type ClassicDecision,
  type DeadlineDecision,
  type Decision,
  type EncodedRecord,
  GroupCoordinator,
  type GroupRefusal,
  type Release,
  refuse,
  TopicDirectory,
} from '../../../src/group/index.ts'
import { re2Patterns } from '../../../src/group/re2-pattern.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'
import { compacted, topicIdOf } from '../group-fixture.ts'

const WALL_START_MS = 1_700_000_000_000
const DEADLINES_PER_TURN_MAX = 8

interface Waiting {
  /** Records up to here must be durable first. */
  readonly logLength: number
  readonly answer: () => void
}

export class SimulatedCoordinator {
  readonly directory = new TopicDirectory()
  readonly log: EncodedRecord[] = []
  /** Called with each record as it becomes durable. */
  onDurable: (record: EncodedRecord) => void = () => {}
  onFenced: (reason: string) => void = () => {}
  /** Requests that wait, by token. */
  readonly #kept = new Map<number, (reply: Release['reply']) => void>()
  #tokens = 0
  #idCount = 0
  #coordinator: GroupCoordinator | undefined
  #waiting: Waiting[] = []
  #durableLength = 0
  #syncUnderWay = false
  #topicCount = 0
  #turn = 0
  /** Connection id less one -> who hears hints. */
  readonly #hinted: (() => void)[] = []
  readonly #queue: EventQueue
  readonly #prng: Prng

  constructor(queue: EventQueue, prng: Prng) {
    this.#queue = queue
    this.#prng = prng
    this.start()
  }

  /** A member's connection, for as long as it lives: answers its id. `onHint`: the group has something for it. */
  connect(onHint: () => void): number {
    return this.#hinted.push(onHint)
  }

  /** Undefined while it is down. */
  get coordinator(): GroupCoordinator | undefined {
    return this.#coordinator
  }

  start(): void {
    const { directory } = this
    const coordinator = new GroupCoordinator({
      directory,
      wallClock: { nowMs: () => WALL_START_MS + this.#queue.nowMs },
      newMemberId: () => `made-${++this.#idCount}`,
      compilePattern: re2Patterns(requireRe2),
    })
    if (this.#prng.below(2) === 0) this.#compact()
    for (const { key, value } of this.log) assert.equal(coordinator.replay(key, value).kind, 'applied')
    coordinator.onLoaded(this.#queue.nowMs)
    this.#coordinator = coordinator
    this.#scheduleTurn()
  }

  /** Who waits is told, or what he was told is lost. */
  crash(): void {
    this.checkKept()
    this.#coordinator = undefined
    this.#waiting = []
    this.log.length = this.#durableLength
    for (const reply of this.#kept.values()) if (this.#prng.below(2) === 0) reply(refuse('NOT_COORDINATOR', ''))
    this.#kept.clear()
  }

  /** The coordinator knows of all requests that wait, and of no others. */
  checkKept(): void {
    if (this.#coordinator === undefined) return
    const known = this.#coordinator.parkedTokens().sort((left, right) => left - right)
    assert.deepEqual(known, [...this.#kept.keys()], 'requests that wait')
  }

  /** Asks what may wait for other members. */
  askClassic<Reply extends { readonly kind: string }>(
    decide: (coordinator: GroupCoordinator, token: number, nowMs: number) => ClassicDecision<Reply>,
    reply: (reply: Reply | GroupRefusal) => void,
  ): void {
    if (this.#coordinator === undefined) return
    const token = ++this.#tokens
    const decision = decide(this.#coordinator, token, this.#queue.nowMs)
    this.#append(decision.records)
    if (decision.reply === undefined) this.#kept.set(token, reply as (reply: Release['reply']) => void)
    else this.#answer(() => reply(decision.reply!))
    this.#release(decision.releases)
    this.checkKept()
    this.#sync()
    this.#scheduleTurn()
  }

  #release(releases: readonly Release[]): void {
    for (const { token, reply } of releases) {
      const kept = this.#kept.get(token)
      assert.ok(kept !== undefined, `request ${token} does not wait`)
      this.#kept.delete(token)
      this.#answer(() => kept(reply))
    }
  }

  #answer(answer: () => void): void {
    this.#waiting.push({ logLength: this.log.length, answer })
  }

  /** Asks the coordinator; `reply` comes when the records are durable, or never. */
  ask<Reply>(
    decide: (coordinator: GroupCoordinator, nowMs: number) => Decision<Reply>,
    reply: (reply: Decision<Reply>['reply']) => void,
  ): void {
    if (this.#coordinator === undefined) return
    const decision = decide(this.#coordinator, this.#queue.nowMs)
    this.#append(decision.records)
    assert.deepEqual(decision.notices, [])
    this.#waiting.push({ logLength: this.log.length, answer: () => reply(decision.reply) })
    this.#sync()
    this.#scheduleTurn()
  }

  extendSessions(groupId: string, memberIds: readonly string[]): readonly string[] | undefined {
    return this.#coordinator?.extendSessions(groupId, memberIds, this.#queue.nowMs).unknownMemberIds
  }

  createTopic(name: string, partitionCount: number): void {
    const topicId = topicIdOf(++this.#topicCount)
    this.directory.put({ topicId, name, partitionCount })
    this.#coordinator?.onTopicsChanged({ changed: [topicId], deleted: [] })
    this.#scheduleTurn()
  }

  growTopic(name: string, partitionCount: number): void {
    const entry = this.directory.byName(name)
    if (entry === undefined) return
    this.directory.put({ ...entry, partitionCount })
    this.#coordinator?.onTopicsChanged({ changed: [entry.topicId], deleted: [] })
    this.#scheduleTurn()
  }

  deleteTopic(name: string): void {
    const entry = this.directory.byName(name)
    if (entry === undefined) return
    this.directory.remove(entry.topicId)
    this.#coordinator?.onTopicsChanged({ changed: [], deleted: [entry.topicId] })
    this.#scheduleTurn()
  }

  #append(records: readonly EncodedRecord[]): void {
    for (const record of records) this.log.push(record)
  }

  /** One fsync at a time; what was appended meanwhile waits for the next. */
  #sync(): void {
    if (this.#syncUnderWay) return
    this.#syncUnderWay = true
    const end = this.log.length
    const coordinator = this.#coordinator
    this.#queue.after(this.#prng.below(4), () => {
      this.#syncUnderWay = false
      if (this.#coordinator !== coordinator || coordinator === undefined) return
      while (this.#durableLength < end) this.onDurable(this.log[this.#durableLength++]!)
      while (this.#waiting.length > 0 && this.#waiting[0]!.logLength <= end) this.#waiting.shift()!.answer()
      if (this.#waiting.length > 0 || this.#durableLength < this.log.length) this.#sync()
    })
  }

  /** Calls takeHints() and onDeadline() when they are due. */
  #scheduleTurn(): void {
    const coordinator = this.#coordinator
    if (coordinator === undefined) return
    const dueMs = Math.min(coordinator.nextDeadlineMs, coordinator.nextHintsMs)
    if (dueMs === Number.POSITIVE_INFINITY) return
    const turn = ++this.#turn
    const waitMs = Math.max(0, Math.ceil(dueMs - this.#queue.nowMs))
    this.#queue.after(waitMs, () => {
      if (this.#coordinator !== coordinator || turn !== this.#turn) return
      for (const { connectionId } of coordinator.takeHints(this.#queue.nowMs) ?? []) this.#hinted[connectionId - 1]!()
      for (let done = 0; done < DEADLINES_PER_TURN_MAX && coordinator.nextDeadlineMs <= this.#queue.nowMs; done++)
        this.#take(coordinator.onDeadline(this.#queue.nowMs))
      this.#scheduleTurn()
    })
  }

  #take(decision: DeadlineDecision | undefined): void {
    if (decision === undefined) return
    assert.deepEqual(decision.notices, [])
    for (const { reason } of decision.fenced) this.onFenced(reason)
    this.#append(decision.records)
    this.#release(decision.releases)
    this.#sync()
  }

  #compact(): void {
    const left = compacted(this.log, this.#prng.below(2) === 0)
    this.log.length = 0
    this.#append(left)
    this.#durableLength = left.length
  }
}
