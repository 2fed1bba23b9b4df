/**
 * Controller: the part of every broker that controls the cluster while it is elected: leaders, in-sync sets of brokers that are gone, moves,
 * topics, brokers that are gone before their lease.
 *
 * Owns        nothing that is not in the store, but hints: partitions to look at, partitions that were told to be empty
 * Thread      main
 * Invariants  CO1 every write asks for the controller's key as of this term, and for the revision of what it changes
 *             CO2 a term begins with an image that has all that earlier terms wrote
 *             CO3 a request resolves when the image has what it wrote, or does not come to have it in time
 *             CO4 NOT_CONTROLLER means that nothing was written, nor will be: it may be asked for again as if it never had been
 * Ordering    requests run one after the other; rounds of partitions run beside them: both ask for revisions, so who comes second looks again
 * Failure     NOT_CONTROLLER for a request when this broker does not control, or does not any more. What was written whole is answered, whoever
 *             controls by then; what may be written in part, REQUEST_TIMED_OUT: whoever asked looks what came of it. BROKER_NOT_AVAILABLE: the
 *             store did not answer, and nothing was written
 */
import type { Clock } from '../../base/clock.ts'
import { type ErrorCode, isMillraceError, MillraceError } from '../../model/errors.ts'
import type { TopicId } from '../../model/ids.ts'
import { isInternalTopic } from '../../model/internal-topics.ts'
import { unchanged } from '../cluster-identity.ts'
import type { ClusterImage, ImageChange } from '../cluster-image.ts'
import { removeEmptied } from '../draining.ts'
import { decodeState, encodeState, type NodeState, nodeKey, type Replica, topicNameKey } from '../keys.ts'
import { isOutcomeUnknown, type MetadataStore, type StoreLease } from '../metadata-store.ts'
import { decodeTopicNameState } from '../stored-states.ts'
import type { Timers } from '../timers.ts'
import { type CreateTopicWish, removeTopicKeys, type TopicDefaults } from '../topics.ts'
import { BrokerLiveness, type BrokerProbes } from './broker-liveness.ts'
import { ControllerElection, type ControllerTerm } from './controller-election.ts'
import {
  type MovePlan,
  planDecommission,
  planGrowth,
  planReassignment,
  planRebalance,
  type ReassignmentWish,
} from './move-plans.ts'
import {
  cancelMoves,
  carryOut,
  electPreferred,
  electUnclean,
  type MoveOutcome,
  type PartitionOf,
} from './move-requests.ts'
import { TopicConfigs } from './partition-decisions.ts'
import { PartitionRounds } from './partition-rounds.ts'
import { checkFence, notController } from './partition-writer.ts'
import { isMoving } from './reassignment.ts'
import { nothingWritten, outcomeUnknown, RequestWrites } from './request-writes.ts'
import {
  addPartitions,
  alterConfig,
  type CreateTopicAnswer,
  createTopic,
  deleteTopic,
  drainPartitions,
  type RequestContext,
} from './topic-requests.ts'

/** Of each partition of the broker's own topics at least, as far as there are brokers. */
const INTERNAL_REPLICAS = 3
/** With these a request ends before it has written all that it meant to. */
const CUT_SHORT_CODES: readonly ErrorCode[] = ['NOT_CONTROLLER', 'BROKER_NOT_AVAILABLE', 'OVERLOADED']

export interface ControllerOptions {
  readonly store: MetadataStore
  /** This broker, under its incarnation. */
  readonly self: Replica
  readonly clock: Clock
  readonly timers: Timers
  readonly log: (level: 'info' | 'warn', text: string) => void
  readonly defaults: TopicDefaults
  /** Unique ids of 32 hex digits. */
  readonly newId: () => string
  /** Of the ClusterWatch whose changes come to onChanges. */
  readonly waitFor: (revision: number) => Promise<void>
  readonly probes: BrokerProbes
  readonly onElected?: (controllerEpoch: number) => void
  readonly onEnded?: (reason: string) => void
}

export class Controller {
  readonly #options: ControllerOptions
  readonly #election: ControllerElection
  readonly #rounds: PartitionRounds
  readonly #liveness: BrokerLiveness
  readonly #configs: TopicConfigs
  #image: ClusterImage | undefined
  /** Told to be empty, as <topic id>/<partition>: they stay so while they drain. */
  readonly #emptied = new Set<string>()
  #isGrowing = false
  /** Requests run one after the other; a failed one does not stop the next. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: ControllerOptions) {
    const { store, self, clock, timers, log, waitFor, probes } = options
    this.#options = options
    this.#configs = new TopicConfigs(options.defaults.config)
    this.#liveness = new BrokerLiveness({ store, selfNodeId: self.nodeId, probes, log })
    this.#election = new ControllerElection({
      ...{ store, self, clock, timers },
      onElected: (term) => this.#begin(term),
      onEnded: (reason) => this.#end(reason),
    })
    this.#rounds = new PartitionRounds({
      ...{ store, timers, log, waitFor, configs: this.#configs },
      term: () => this.#election.term,
      onFenced: (term) => this.#fenced(term),
    })
  }

  /** Whether this broker controls, as far as it knows. */
  get isActive(): boolean {
    return this.#election.term !== undefined
  }

  get controllerEpoch(): number | undefined {
    return this.#election.term?.controllerEpoch
  }

  /** The broker is registered under this lease. */
  campaign(lease: StoreLease): void {
    this.#election.campaign(lease)
  }

  /** What the ClusterWatch tells, all of it. */
  onChanges(changes: readonly ImageChange[], image: ClusterImage): void {
    this.#image = image
    this.#election.look(image)
    this.#rounds.onChanges(changes)
    if (this.isActive && changes.some((change) => mayGrow(change, this.#internalReplicas))) this.#growInternal()
  }

  /** Gives up control and takes part in no more elections. */
  async close(): Promise<void> {
    await this.#election.resign()
    await this.#last
  }

  createTopic(wish: CreateTopicWish, validateOnly = false): Promise<CreateTopicAnswer> {
    return this.#request((context) => createTopic(wish, validateOnly, context))
  }

  deleteTopic(name: string): Promise<void> {
    return this.#request((context) => deleteTopic(name, context))
  }

  addPartitions(name: string, total: number): Promise<void> {
    return this.#request((context) => addPartitions(name, total, context))
  }

  alterConfig(
    name: string,
    change: { readonly set: Readonly<Record<string, string>>; readonly remove: readonly string[] },
  ): Promise<Readonly<Record<string, string>>> {
    return this.#request((context) => alterConfig(name, change, context))
  }

  /** From partition `total` on no new records are taken, and partitions go when they are empty; as many as there are ends that. */
  drainPartitions(name: string, total: number): Promise<void> {
    return this.#request(async (context) => {
      await drainPartitions(name, total, context)
      const topicId = context.image.topicByName(name)?.topicId
      for (const key of this.#emptied) if (topicId !== undefined && key.startsWith(topicId)) this.#emptied.delete(key)
    })
  }

  /** A leader found a draining partition empty. It says so again and again until the partition is gone. Answers how many went. */
  partitionEmptied(topicId: TopicId, partition: number): Promise<number> {
    return this.#request(async (context) => {
      const topic = context.image.topicById(topicId)
      if (topic === undefined || partition < (topic.state.drainFrom ?? Number.POSITIVE_INFINITY)) return 0
      this.#emptied.add(`${topicId}/${partition}`)
      const isEmpty = (one: number) => this.#emptied.has(`${topicId}/${one}`)
      const { store, fence } = context
      const before = topic.state.partitions
      const left = await removeEmptied(topic, isEmpty, { store, fence: [fence] })
      return before - (left?.state.partitions ?? before)
    })
  }

  /** The plan, as carried out; `dryRun` only shows it. */
  reassign(wishes: readonly ReassignmentWish[], dryRun = false): Promise<MovePlan> {
    return this.#moves((image) => planReassignment(image, wishes), dryRun)
  }

  rebalance(dryRun = false): Promise<MovePlan> {
    return this.#moves(planRebalance, dryRun)
  }

  /** Moves taken back: of these partitions, or all that go on. */
  cancelReassignment(partitions: readonly PartitionOf[] | null): Promise<MoveOutcome> {
    return this.#request((context) => cancelMoves(partitions, context, this.#configs))
  }

  /** The broker gets nothing new, and its replicas move to others, some at a time, whoever controls. Answers what is left to move. */
  decommission(nodeId: number, dryRun = false): Promise<MovePlan> {
    return this.#request(async (context) => {
      if (!dryRun) await this.#setDecommissioned(nodeId, true, context)
      return planDecommission(context.image, nodeId)
    })
  }

  recommission(nodeId: number): Promise<void> {
    return this.#request((context) => this.#setDecommissioned(nodeId, false, context))
  }

  /** Leadership back to preferred replicas: of these partitions, or of all. */
  electPreferred(partitions: readonly PartitionOf[] | null): Promise<MoveOutcome> {
    return this.#request((context) => electPreferred(partitions, context, this.#configs))
  }

  /** Leaders for partitions that have none, of these or of all, though they may lack records: where the owner would rather have that. */
  electUnclean(partitions: readonly PartitionOf[] | null): Promise<MoveOutcome> {
    const warn = (text: string) => this.#options.log('warn', text)
    return this.#request((context) => electUnclean(partitions, context, this.#configs, warn))
  }

  /** A peer saw the broker's connection end and its port closed. Resolves to whether it was declared gone. */
  async suspect(nodeId: number, incarnation: number): Promise<boolean> {
    if (this.#image === undefined || !this.isActive) throw notController()
    return this.#liveness.suspect(this.#image, nodeId, incarnation)
  }

  #moves(planOf: (image: ClusterImage) => MovePlan, dryRun: boolean): Promise<MovePlan> {
    return this.#request(async (context) => {
      const plan = planOf(context.image)
      if (!dryRun) await carryOut(plan, context)
      return plan
    })
  }

  async #setDecommissioned(nodeId: number, isDecommissioned: boolean, { store, fence }: RequestContext): Promise<void> {
    const key = nodeKey(nodeId)
    const stored = await store.get(key)
    if (stored === undefined) throw new MillraceError('INVALID_REQUEST', `there is no broker ${nodeId}`)
    const { isDecommissioned: _, ...state } = decodeState<NodeState>(key, stored.value)
    const next: NodeState = isDecommissioned ? { ...state, isDecommissioned } : state
    const { applied } = await store.transact(
      [fence, unchanged(key, stored)],
      [{ kind: 'put', key, value: encodeState(next) }],
    )
    if (applied) return
    await checkFence(store, fence)
    throw new MillraceError('INVALID_UPDATE_VERSION', `broker ${nodeId} started just now: look again`)
  }

  #request<T>(work: (context: RequestContext) => Promise<T>): Promise<T> {
    const result = this.#last.then(() => this.#inTerm(work))
    this.#last = result.catch(() => {})
    return result
  }

  async #inTerm<T>(work: (context: RequestContext) => Promise<T>): Promise<T> {
    const { store, self, clock, newId, defaults } = this.#options
    const term = this.#election.term
    const image = this.#image
    if (term === undefined || image === undefined) throw notController()
    const writes = new RequestWrites(store)
    try {
      const answer = await work({ store: writes, ...{ image, self, clock, newId, defaults }, fence: term.fence })
      await this.#follow(term, await writes.settled())
      return answer
    } catch (error) {
      if (isMillraceError(error) && error.code === 'NOT_CONTROLLER') this.#fenced(term)
      // A refusal is an answer, whatever was written before it.
      const isCutShort = isOutcomeUnknown(error) || (isMillraceError(error) && CUT_SHORT_CODES.includes(error.code))
      if (isCutShort && (await writes.settled())) throw outcomeUnknown(error)
      // What is not known is a question: a transaction that only looks whether this broker still controls.
      throw isOutcomeUnknown(error) ? nothingWritten(error) : error
    }
  }

  /**
   * Until all that was written is in the image: the next request, and whoever asks this broker, finds it. What was written stays so, whoever
   * controls by now and whatever can be reached; what was only read may be of the past.
   */
  async #follow(term: ControllerTerm, hasWritten: boolean): Promise<void> {
    const { store, waitFor, log } = this.#options
    try {
      const { applied, revision } = await store.transact([term.fence], [])
      if (!applied && !hasWritten) throw notController()
      if (!applied) this.#fenced(term)
      await waitFor(revision)
    } catch (error) {
      if (!hasWritten) throw error
      log('warn', `what was written is not seen here yet: ${String(error)}`)
    }
  }

  #begin(term: ControllerTerm): void {
    const { log, onElected } = this.#options
    log('info', `this broker controls the cluster, controller epoch ${term.controllerEpoch}`)
    this.#emptied.clear()
    this.#rounds.start(this.#image!)
    this.#removeHalves(term).catch((error: unknown) => log('warn', `halves of topics stay for now: ${String(error)}`))
    this.#growInternal()
    onElected?.(term.controllerEpoch)
  }

  /** Coordinators are to survive the loss of a broker as soon as there are brokers for it. */
  #growInternal(): void {
    const { log } = this.#options
    const replicas = this.#internalReplicas
    if (this.#isGrowing || planGrowth(this.#image!, replicas).moves.length === 0) return
    this.#isGrowing = true
    this.#moves((image) => planGrowth(image, replicas), false)
      .then(
        ({ moves }) => log('info', `${moves.length} partitions of internal topics get more replicas`),
        // Something changed meanwhile: the next change looks again.
        (error: unknown) => log('info', `internal topics get no more replicas yet: ${String(error)}`),
      )
      .finally(() => {
        this.#isGrowing = false
      })
  }

  get #internalReplicas(): number {
    return Math.max(INTERNAL_REPLICAS, this.#options.defaults.replicas)
  }

  #end(reason: string): void {
    this.#rounds.stop()
    this.#options.log('info', `this broker does not control the cluster any more: ${reason}`)
    this.#options.onEnded?.(reason)
  }

  #fenced(term: ControllerTerm): void {
    if (this.#election.term === term) this.#election.end('a write found another key')
  }

  /** Topics that an earlier controller had half made or half deleted. In turn: none of them is being made by this one. */
  #removeHalves(term: ControllerTerm): Promise<void> {
    return this.#request(async ({ store, image }) => {
      for (const { topicId, state } of image.halfTopics()) {
        const key = topicNameKey(state.name)
        // It may name this topic.
        if (image.unreadable.has(key)) continue
        const named = await store.get(key)
        // The name was written and the image does not show it yet.
        if (named !== undefined && decodeTopicNameState(key, named.value).topicId === topicId) continue
        await removeTopicKeys(store, topicId, [term.fence])
      }
    })
  }
}

/** Whether an internal topic may be able to grow now: brokers came, it came, or a partition of it has been moved. */
function mayGrow(change: ImageChange, replicas: number): boolean {
  if (change.kind === 'broker' || change.kind === 'topic-added') return true
  if (change.kind !== 'partition' || !isInternalTopic(change.topic.state.name)) return false
  return !isMoving(change.state) && change.state.replicas.length < replicas
}
