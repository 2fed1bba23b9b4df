/**
 * GroupService: the gateway's side of consumer groups: which partition of __consumer_offsets coordinates a group, and that its shard
 * knows the topics. What groups are and may do is decided on the shard (group/, worker/group-host.ts).
 *
 * Owns        the internal topic: made when the first group comes
 * Thread      main
 * Ordering    a shard is told of topics before, and in the same ring as, the first request that may name them
 * Limits      TOPICS_PER_MESSAGE topics in a control message; what may be larger than a frame of the reply ring is asked for in pages
 * Failure     an offline partition: COORDINATOR_NOT_AVAILABLE with the reason, its groups only
 */
import type { BrokerConfig } from '../config/index.ts'
import { isMillraceError, MillraceError } from '../model/errors.ts'
import type { TopicId } from '../model/ids.ts'
import { isInternalTopic, OFFSETS_TOPIC } from '../model/internal-topics.ts'
import {
  type Api,
  type Codec,
  classicHeartbeat,
  confirmsNothing,
  groupHeartbeat,
  type ListedGroup,
  type ListGroupsReply,
  type ListGroupsRequest,
  listGroups,
  unwrapReply,
} from '../protocol/index.ts'
import { ControlOperation, type GroupTopicsBody } from '../ring/control-messages.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Caller } from './caller.ts'
import { checkServes, InternalTopic, isLedElsewhere } from './internal-topic.ts'
import type { PartitionProxy, PartitionRouter, RoutedTopic } from './partition-router.ts'
import type { GroupWaiter, ShardLink } from './shard-link.ts'
import type { TopicAdmin } from './topic-admin.ts'

const TOPICS_PER_MESSAGE = 1_000
/** A page that has so many groups asks no further coordinator. */
const LISTED_AT_ONCE = 1_000

export interface GroupServiceContext {
  readonly config: BrokerConfig
  readonly router: PartitionRouter
  readonly links: readonly ShardLink[]
  readonly topicService: TopicAdmin
  readonly logger: Logger
}

export class GroupService {
  readonly #gateway: GroupServiceContext
  /** Shards that know the topics. */
  readonly #told = new Set<ShardLink>()
  readonly #topic: InternalTopic

  constructor(gateway: GroupServiceContext) {
    this.#gateway = gateway
    this.#topic = new InternalTopic({
      ...{ name: OFFSETS_TOPIC, partitions: gateway.config.groups.offsetsPartitions, router: gateway.router },
      topicService: () => gateway.topicService,
      logger: gateway.logger,
    })
  }

  /** The partition of the offsets topic that coordinates the group. */
  coordinatorOf(groupId: string): Promise<PartitionProxy> {
    return this.#topic.coordinatorOf(groupId)
  }

  /** The same, wherever it is led and whether it serves or not. */
  partitionOf(groupId: string): Promise<PartitionProxy> {
    return this.#topic.partitionOf(groupId)
  }

  /** Asks the coordinator of `groupId`; resolves with its reply when what it decided is durable. */
  async ask<Request, Reply>(
    groupId: string,
    codec: Codec<Request, Reply>,
    request: Request,
    caller: Caller,
  ): Promise<Reply> {
    const header = await this.forward(groupId, codec.api, codec.encodeRequest(request), caller)
    return unwrapReply(codec.decodeReply(header))
  }

  /** The same, from header to header. */
  async forward(groupId: string, api: Api, header: Uint8Array, caller: Caller): Promise<Uint8Array> {
    return this.#ask(await this.#topic.coordinatorOf(groupId), api, header, caller)
  }

  /**
   * The same at once and without a promise, for what comes thousands of times a second: false = something is in the way, nothing was
   * done, forward() it. `header` need not outlive the call.
   */
  relay(groupId: string, api: Api, header: Uint8Array, caller: Caller, waiter: GroupWaiter): boolean {
    const partition = this.#topic.servingCoordinatorOf(groupId)
    if (partition === undefined) return false
    return this.#relay(partition, api, header, caller, waiter) === undefined
  }

  /** Asks every coordinator there is here; those that do not answer are left out, unless none does. Others answer for theirs. */
  async askAll<Request, Reply>(codec: Codec<Request, Reply>, request: Request, caller: Caller): Promise<Reply[]> {
    const partitions = this.#topic.partitions.filter((partition) => !isLedElsewhere(partition))
    if (partitions.length === 0) return []
    const header = codec.encodeRequest(request)
    const asked = partitions.map((partition) => this.#ask(partition, codec.api, header, caller))
    const replies: Reply[] = []
    const faults: unknown[] = []
    for (const outcome of await Promise.allSettled(asked))
      if (outcome.status === 'fulfilled') replies.push(unwrapReply(codec.decodeReply(outcome.value)))
      else faults.push(outcome.reason)
    if (faults.length === asked.length) throw faults[0]
    for (const err of faults)
      this.#gateway.logger.warn({ err }, 'a coordinator did not answer: its groups are left out')
    return replies
  }

  /**
   * A page of all groups coordinated here: those of one coordinator after the other, since each has its own by id. One that does not answer is left
   * out, unless none does.
   */
  async listPage({ states, kinds }: ListGroupsRequest, cursor: string, caller: Caller): Promise<ListGroupsReply> {
    const { partitions } = this.#topic
    const groups: ListedGroup[] = []
    let answered = 0
    let fault: unknown
    let { at, after } = placeOf(cursor)
    for (; at < partitions.length && groups.length < LISTED_AT_ONCE; at++, after = '') {
      // Its broker tells of its groups. Skipped, not filtered out: the cursor counts all partitions.
      if (isLedElsewhere(partitions[at]!)) continue
      try {
        const header = listGroups.encodeRequest({ states, kinds, cursor: after })
        const reply = await this.#ask(partitions[at]!, listGroups.api, header, caller)
        const page = unwrapReply(listGroups.decodeReply(reply))
        answered++
        for (const group of page.groups) groups.push(group)
        if (page.nextCursor !== null) return { groups, nextCursor: `${at}/${page.nextCursor}` }
      } catch (error) {
        if (!isMillraceError(error)) throw error
        fault = error
        this.#gateway.logger.warn({ err: error }, 'a coordinator did not answer: its groups are left out')
      }
    }
    if (cursor === '' && answered === 0 && fault !== undefined) throw fault
    return { groups, nextCursor: at < partitions.length ? `${at}/` : null }
  }

  /** A topic came, grew or went: shards that coordinate are told. */
  onTopicChanged(topic: RoutedTopic): void {
    const { topicId } = topic.record
    if (isInternalTopic(topic.record.state.name)) return
    const body: GroupTopicsBody = topic.isDeleted
      ? { upserted: [], removed: [topicId] }
      : { upserted: [rowOf(topic)], removed: [] }
    for (const link of this.#told) this.#tell(link, body)
  }

  async #ask(partition: PartitionProxy, api: Api, header: Uint8Array, caller: Caller): Promise<Uint8Array> {
    checkServes(partition)
    return new Promise((resolve, reject) => {
      const waiter = { onGroupReply: (reply: Uint8Array) => resolve(reply.slice()), onGroupFailed: reject }
      const refusal = this.#relay(partition, api, header, caller, waiter)
      if (refusal !== undefined) reject(refusal)
    })
  }

  #relay(
    partition: PartitionProxy,
    api: Api,
    header: Uint8Array,
    caller: Caller,
    waiter: GroupWaiter,
  ): MillraceError | undefined {
    const link = this.#gateway.links[partition.shard]!
    if (!this.#told.has(link)) this.#tellAll(link)
    const isSteady = api === classicHeartbeat.api || (api === groupHeartbeat.api && confirmsNothing(header))
    return link.relay({ partitionRef: partition.ref, api, header, ...caller, isSteady }, waiter)
  }

  #tellAll(link: ShardLink): void {
    this.#told.add(link)
    const rows = [...this.#gateway.router.topics()]
      .filter((topic) => !isInternalTopic(topic.record.state.name))
      .map(rowOf)
    for (let from = 0; from < rows.length; from += TOPICS_PER_MESSAGE)
      this.#tell(link, { upserted: rows.slice(from, from + TOPICS_PER_MESSAGE), removed: [] })
  }

  #tell(link: ShardLink, body: GroupTopicsBody): void {
    link.control(ControlOperation.GROUP_TOPICS, body).catch((error: unknown) => {
      // The shard has ended, and its coordinators with it; or it has no room: it is told everything anew.
      this.#told.delete(link)
      this.#gateway.logger.debug({ err: error, shard: link.shard }, 'topics were not told')
    })
  }
}

/** Of listPage's cursor: the partition of the offsets topic, and the group behind which its page begins. */
function placeOf(cursor: string): { at: number; after: string } {
  if (cursor === '') return { at: 0, after: '' }
  const [, at, after] = /^(\d{1,9})\/(.*)$/s.exec(cursor) ?? []
  if (at === undefined || after === undefined)
    throw new MillraceError('INVALID_REQUEST', `cursor '${cursor}' is none that list-groups has answered`)
  return { at: Number(at), after }
}

function rowOf(topic: RoutedTopic): { topicId: TopicId; name: string; partitions: number } {
  return { topicId: topic.record.topicId, name: topic.record.state.name, partitions: topic.partitions.length }
}
