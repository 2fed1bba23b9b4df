/**
 * ClusterTopics: changes of topics in a cluster: the controller decides and writes them, wherever it is; whoever asked this broker finds
 * here what came of it.
 *
 * Thread      main
 * Ordering    as ControllerCalls
 * Failure     as ControllerCalls
 * Not here    the decisions (coordination/controller)
 */
import type { CreateTopicWish } from '../../coordination/topics.ts'
import type { TopicId } from '../../model/ids.ts'
import { addPartitions, alterTopicConfig, createTopic, deleteTopic, partitionEmptied } from '../../protocol/index.ts'
import type { PartitionRouter } from '../partition-router.ts'
import type { TopicAdmin, TopicConfigChange, TopicMade } from '../topic-admin.ts'
import { refuseInternal } from '../topic-service.ts'
import type { ClusterAgent } from './cluster-agent.ts'

export interface ClusterTopicsContext {
  readonly router: PartitionRouter
}

export class ClusterTopics implements TopicAdmin {
  readonly #router: PartitionRouter
  readonly #agent: ClusterAgent

  constructor({ router }: ClusterTopicsContext, agent: ClusterAgent) {
    this.#router = router
    this.#agent = agent
  }

  async create(wish: CreateTopicWish, validateOnly: boolean, by: 'client' | 'broker' = 'client'): Promise<TopicMade> {
    if (by === 'client') refuseInternal(wish.name)
    const { calls } = this.#agent
    const made = await calls.decide(() => this.#here.create(wish, validateOnly, by), createTopic, {
      ...wish,
      validateOnly,
    })
    if (!validateOnly) await calls.until(() => this.#router.byId(made.topicId) !== undefined)
    return made
  }

  async delete(name: string): Promise<void> {
    refuseInternal(name)
    const { calls } = this.#agent
    const topic = this.#router.byName(name)
    await calls.decide(() => emptyReply(this.#here.delete(name)), deleteTopic, { name })
    await calls.until(() => topic === undefined || topic.isDeleted)
  }

  async addPartitions(name: string, total: number): Promise<void> {
    refuseInternal(name)
    const { calls } = this.#agent
    const request = { name, totalPartitions: total, drain: false }
    await calls.decide(() => emptyReply(this.#here.addPartitions(name, total)), addPartitions, request)
    await calls.until(() => (this.#router.byName(name)?.partitions.length ?? total) >= total)
  }

  async drainPartitions(name: string, total: number): Promise<void> {
    refuseInternal(name)
    const { calls } = this.#agent
    const request = { name, totalPartitions: total, drain: true }
    await calls.decide(() => emptyReply(this.#here.drainPartitions(name, total)), addPartitions, request)
    await calls.until(() => {
      const state = this.#router.byName(name)?.record.state
      // Ended, begun, or over already.
      return state === undefined || (state.drainFrom ?? state.partitions) === total
    })
  }

  async partitionEmptied(topicId: TopicId, partition: number): Promise<number> {
    const here = async () => ({ removed: await this.#here.partitionEmptied(topicId, partition) })
    return (await this.#agent.calls.decide(here, partitionEmptied, { topicId, partition })).removed
  }

  async alterConfig(name: string, change: TopicConfigChange): Promise<Readonly<Record<string, string>>> {
    refuseInternal(name)
    const { calls } = this.#agent
    const { set, remove } = change
    const here = async () => ({ config: await this.#here.alterConfig(name, change) })
    const reply = await calls.decide(here, alterTopicConfig, { name, set, remove })
    const wanted = JSON.stringify(reply.config)
    await calls.until(() => JSON.stringify(this.#router.byName(name)?.record.state.config ?? {}) === wanted)
    return reply.config
  }

  get #here(): TopicAdmin {
    return this.#agent.localController()
  }
}

async function emptyReply(done: Promise<void>): Promise<Readonly<Record<never, never>>> {
  await done
  return {}
}
