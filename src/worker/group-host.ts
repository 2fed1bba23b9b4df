/**
 * GroupHost: the coordinators of consumer groups on this shard: one for each partition of the offsets topic that somebody has asked.
 *
 * Owns        their topic directory; the coordinators are CoordinatorHost's, and so is when what is written and answered
 * Thread      the shard
 * Limits      DUE_PER_TURN
 * Not here    decisions (group/), from the wire to requests and back (group-wire.ts)
 */
import { GroupCoordinator, type GroupCoordinatorOptions, type TopicChanges, TopicDirectory } from '../group/index.ts'
import type { ErrorCode } from '../model/errors.ts'
import type { GroupRequestBody, GroupTopicsBody } from '../ring/control-messages.ts'
import {
  CoordinatorHost,
  type CoordinatorHostOptions,
  type CoordinatorKind,
  type CoordinatorRequest,
  type Hosted,
  type HostedDecision,
  nameOf,
} from './coordinator-host.ts'
import { answerGroupRequest, releasedRequests } from './group-wire.ts'
import type { PartitionAgent } from './partition-agent.ts'

/** What is due of one coordinator in one turn: a group each. */
const DUE_PER_TURN = 32
/** A notice must fit a frame of the reply ring, however small that was set. */
const HINTS_PER_NOTICE = 16

export interface GroupHostOptions extends CoordinatorHostOptions {
  /** What coordinators are made of, but for what the host itself has. */
  readonly coordinator: Omit<GroupCoordinatorOptions, 'directory'>
}

type HostedGroups = Hosted<GroupCoordinator, GroupRequestBody, never>

export class GroupHost implements CoordinatorKind<GroupCoordinator, GroupRequestBody, never> {
  readonly subject = 'groups'
  readonly tooLarge =
    "the group has become larger than the broker's largest batch: it needs fewer members or partitions"
  /** Members beat: the next one loads it. */
  readonly reloads = false
  readonly host: CoordinatorHost<GroupCoordinator, GroupRequestBody>
  readonly #options: GroupHostOptions
  readonly #directory = new TopicDirectory()

  constructor(options: GroupHostOptions) {
    this.#options = options
    this.host = new CoordinatorHost(options, this)
  }

  onTopics(requestId: number, { upserted, removed }: GroupTopicsBody): void {
    for (const topicId of removed) this.#directory.remove(topicId)
    for (const { topicId, name, partitions } of upserted)
      this.#directory.put({ topicId, name, partitionCount: partitions })
    const changes: TopicChanges = { changed: upserted.map(({ topicId }) => topicId), deleted: removed }
    for (const { coordinator } of this.host.serving()) coordinator.onTopicsChanged(changes)
    this.#options.replies.answer(requestId, {})
  }

  // CoordinatorKind

  make({ state }: PartitionAgent): GroupCoordinator {
    const batchBytesMax = (): number => state.config.maxMessageBytes
    const { coordinator, replies } = this.#options
    const replyBytesMax = replies.bodyBytesMax
    return new GroupCoordinator({ ...coordinator, directory: this.#directory, batchBytesMax, replyBytesMax })
  }

  nextDeadlineMs(coordinator: GroupCoordinator): number {
    return Math.min(coordinator.nextDeadlineMs, coordinator.nextHintsMs)
  }

  decide(
    { coordinator, partition }: HostedGroups,
    request: CoordinatorRequest<GroupRequestBody>,
    nowMs: number,
  ): HostedDecision<never> {
    const answer = answerGroupRequest(coordinator, request, nowMs, ({ producerId, producerEpoch }) =>
      this.#options.produces.checkTransaction(partition, producerId, producerEpoch),
    )
    this.#warn(partition, answer.notices)
    return answer
  }

  doDue(hosted: HostedGroups, nowMs: number): number {
    const { coordinator } = hosted
    let work = this.#sendHints(coordinator, nowMs)
    for (; work < DUE_PER_TURN && coordinator.nextDeadlineMs <= nowMs; work++) {
      const decision = coordinator.onDeadline(nowMs)
      if (decision === undefined) continue
      this.host.take(hosted, decision.records)
      for (const { requestId, reply } of releasedRequests(decision.releases))
        this.host.release(hosted, requestId, reply)
      const name = `group ${decision.groupId}`
      for (const text of decision.notices) this.#options.notices.log('info', `${name}: ${text}`)
      for (const { memberId, reason } of decision.fenced)
        this.#options.notices.log('info', `${name}: ${memberId} was removed, its ${reason} timeout is over`)
    }
    return work
  }

  /** As it is: it is the client's. */
  answer(requestId: number, header: Uint8Array): void {
    this.#options.replies.relay(requestId, header)
  }

  onDurable(): void {
    // Groups have no effects but their replies.
  }

  /** Joins and syncs of classic groups wait for others. */
  onDropped({ coordinator }: HostedGroups, error: ErrorCode, text: string): void {
    for (const requestId of coordinator.parkedTokens()) this.host.giveUp({ requestId }, error, text)
  }

  /** A hint that is lost is no loss: its member hears of it later. */
  #sendHints(coordinator: GroupCoordinator, nowMs: number): number {
    let groups = 0
    for (; groups < DUE_PER_TURN && coordinator.nextHintsMs <= nowMs; groups++) {
      const members = coordinator.takeHints(nowMs) ?? []
      for (let from = 0; from < members.length; from += HINTS_PER_NOTICE)
        this.#options.notices.send({ kind: 'group-changed', members: members.slice(from, from + HINTS_PER_NOTICE) })
    }
    return groups
  }

  #warn(partition: PartitionAgent, notices: readonly string[]): void {
    for (const text of notices) this.#options.notices.log('warn', `${nameOf(partition)}: ${text}`)
  }
}
