/**
 * ClusterTopics: changes of topics in a cluster: the controller decides and writes them, wherever it is; whoever asked this broker finds
 * here what came of it.
 *
 * Thread      main
 * Ordering    authorised here -> decided by the controller -> in the metadata store -> in this broker's image -> the reply
 * Failure     no controller now, or it changes meanwhile: asked again until DECIDE_MS_MAX are over, then BROKER_NOT_AVAILABLE. A connection
 *             to it that breaks: NETWORK_EXCEPTION, for it may have decided
 * Not here    the decisions (coordination/controller)
 */
import type { Clock } from '../../base/clock.ts'
import type { CreateTopicWish } from '../../coordination/topics.ts'
import { isMillraceError, MillraceError } from '../../model/errors.ts'
import { addPartitions, alterTopicConfig, type Codec, createTopic, deleteTopic } from '../../protocol/index.ts'
import type { PartitionRouter } from '../partition-router.ts'
import type { Timers } from '../timers.ts'
import type { TopicAdmin, TopicConfigChange, TopicMade } from '../topic-admin.ts'
import { refuseInternal } from '../topic-service.ts'
import type { ClusterAgent } from './cluster-agent.ts'

const DECIDE_MS_MAX = 15_000
const RETRY_MS = 100
const VISIBLE_MS_MAX = 10_000
const LOOK_MS = 5

export interface ClusterTopicsContext {
  readonly identity: { readonly nodeId: number }
  readonly router: PartitionRouter
  readonly clock: Clock
  readonly timers: Timers
}

export class ClusterTopics implements TopicAdmin {
  readonly #context: ClusterTopicsContext
  readonly #agent: ClusterAgent

  constructor(context: ClusterTopicsContext, agent: ClusterAgent) {
    this.#context = context
    this.#agent = agent
  }

  async create(wish: CreateTopicWish, validateOnly: boolean, by: 'client' | 'broker' = 'client'): Promise<TopicMade> {
    if (by === 'client') refuseInternal(wish.name)
    const made = await this.#decide((controller) => controller.create(wish, validateOnly, by), createTopic, {
      ...wish,
      validateOnly,
    })
    if (!validateOnly) await this.#until(() => this.#context.router.byId(made.topicId) !== undefined)
    return made
  }

  async delete(name: string): Promise<void> {
    refuseInternal(name)
    const topic = this.#context.router.byName(name)
    await this.#decide(
      async (controller) => {
        await controller.delete(name)
        return {}
      },
      deleteTopic,
      { name },
    )
    await this.#until(() => topic === undefined || topic.isDeleted)
  }

  async addPartitions(name: string, total: number): Promise<void> {
    refuseInternal(name)
    await this.#decide(
      async (controller) => {
        await controller.addPartitions(name, total)
        return {}
      },
      addPartitions,
      { name, totalPartitions: total },
    )
    await this.#until(() => (this.#context.router.byName(name)?.partitions.length ?? total) >= total)
  }

  async alterConfig(name: string, change: TopicConfigChange): Promise<Readonly<Record<string, string>>> {
    refuseInternal(name)
    const { set, remove } = change
    const reply = await this.#decide(
      async (controller) => ({ config: await controller.alterConfig(name, change) }),
      alterTopicConfig,
      { name, set, remove },
    )
    const wanted = JSON.stringify(reply.config)
    await this.#until(() => JSON.stringify(this.#context.router.byName(name)?.record.state.config ?? {}) === wanted)
    return reply.config
  }

  async #decide<Request, Reply>(
    here: (controller: TopicAdmin) => Promise<Reply>,
    codec: Codec<Request, Reply>,
    request: Request,
  ): Promise<Reply> {
    const { clock, timers, identity } = this.#context
    const untilMs = clock.monotonicMs() + DECIDE_MS_MAX
    for (;;) {
      try {
        const nodeId = this.#agent.controllerNodeId
        if (nodeId === undefined) throw new MillraceError('NOT_CONTROLLER', 'nobody controls the cluster now')
        if (nodeId !== identity.nodeId) return await this.#agent.peers.ask(nodeId, codec, request)
        return await here(this.#agent.localController())
      } catch (error) {
        // What was never sent, or not decided, may be asked again.
        const isFree = isMillraceError(error) && (error.code === 'NOT_CONTROLLER' || error.code === 'CONNECTION_FAILED')
        if (!isFree) throw error
        if (clock.monotonicMs() >= untilMs)
          throw new MillraceError('BROKER_NOT_AVAILABLE', `no controller decided: ${error.message}`)
      }
      await new Promise<void>((resolve) => void timers.after(RETRY_MS, resolve))
    }
  }

  /** Until this broker knows; a change that came in between may have undone it, so not for ever. */
  async #until(isKnown: () => boolean): Promise<void> {
    const { clock, timers } = this.#context
    const untilMs = clock.monotonicMs() + VISIBLE_MS_MAX
    while (!isKnown() && clock.monotonicMs() < untilMs)
      await new Promise<void>((resolve) => void timers.after(LOOK_MS, resolve))
  }
}
