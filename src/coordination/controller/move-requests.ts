/**
 * Move requests: plans carried out, moves taken back, leaders elected on request: decided from the image, written under its
 * versions.
 *
 * Failure     partitions that changed meanwhile are left as they are and told: the caller looks again
 */
import { MillraceError } from '../../model/errors.ts'
import type { TopicId } from '../../model/ids.ts'
import { NO_LEADER, type PartitionState } from '../keys.ts'
import type { TopicRecord } from '../topics.ts'
import { putTopicState } from '../topics.ts'
import type { MovePlan } from './move-plans.ts'
import { decidePreferred, decideUnclean, electionContextOf, type TopicConfigs } from './partition-decisions.ts'
import { type PartitionWrite, writePartitionStates } from './partition-writer.ts'
import { decideCancel, isMoving, targetOf, withTarget } from './reassignment.ts'
import { type RequestContext, topicOf } from './topic-requests.ts'

export interface PartitionOf {
  readonly topic: string
  readonly partition: number
}

export interface MoveOutcome {
  readonly changed: readonly PartitionOf[]
  /** Changed meanwhile, or not possible now. */
  readonly left: readonly PartitionOf[]
}

/** Begins all moves of a plan, or none of a partition that does not lie where the plan says. */
export async function carryOut(plan: MovePlan, context: RequestContext): Promise<void> {
  const { image, store, fence } = context
  const writes = plan.moves.map(({ topicId, topic: name, partition, from, to }): PartitionWrite => {
    const topic = image.topicById(topicId)
    const state = topic?.partitions[partition]
    if (topic === undefined || state === undefined || targetOf(state).join() !== from.join())
      throw new MillraceError(
        'INVALID_UPDATE_VERSION',
        `${name}-${partition} is not on ${from.join(', ')} any more: plan again`,
      )
    const next = withTarget(state, to)
    if (next === undefined)
      throw new MillraceError(
        'REASSIGNMENT_IN_PROGRESS',
        `${name}-${partition} is led by a replica that its move brings`,
      )
    return { topic, partition, version: topic.partitionVersions[partition]!, next }
  })
  const { overtaken } = await writePartitionStates(store, fence, writes)
  if (overtaken.length > 0) {
    const { topic, partition } = overtaken[0]!
    const text = `${topic.state.name}-${partition} and ${overtaken.length - 1} others changed meanwhile: plan again for them`
    throw new MillraceError('INVALID_UPDATE_VERSION', text)
  }
  await followReplicas(writes, context)
}

/** A topic all of whose partitions got another number of replicas has that number from now on. */
async function followReplicas(writes: readonly PartitionWrite[], context: RequestContext): Promise<void> {
  const byTopic = new Map<TopicId, PartitionWrite[]>()
  for (const write of writes) {
    const { topicId } = write.topic
    const list = byTopic.get(topicId)
    if (list === undefined) byTopic.set(topicId, [write])
    else list.push(write)
  }
  for (const list of byTopic.values()) {
    const { topic } = list[0]!
    const replicas = targetOf(list[0]!.next).length
    if (list.length < topic.state.partitions || replicas === topic.state.replicas) continue
    if (list.some(({ next }) => targetOf(next).length !== replicas)) continue
    await putTopicState(topic, { ...topic.state, replicas }, { store: context.store, fence: [context.fence] })
  }
}

export function cancelMoves(
  partitions: readonly PartitionOf[] | null,
  context: RequestContext,
  configs: TopicConfigs,
): Promise<MoveOutcome> {
  return change(partitions ?? partitionsWhere(isMoving, context), context, (topic, partition) => {
    const state = topic.partitions[partition]!
    if (!isMoving(state)) return undefined
    return decideCancel(state, electionContextOf(topic, partition, context.image, configs))
  })
}

export function electPreferred(
  partitions: readonly PartitionOf[] | null,
  context: RequestContext,
  configs: TopicConfigs,
): Promise<MoveOutcome> {
  return change(partitions ?? partitionsWhere(() => true, context), context, (topic, partition) => {
    return decidePreferred(topic, partition, context.image, configs)?.next
  })
}

/** Leaders for partitions that have none, at the price of records; `warn` is told which. */
export function electUnclean(
  partitions: readonly PartitionOf[] | null,
  context: RequestContext,
  configs: TopicConfigs,
  warn: (text: string) => void,
): Promise<MoveOutcome> {
  const isMeant = ({ leader }: PartitionState): boolean => leader === NO_LEADER
  return change(partitions ?? partitionsWhere(isMeant, context), context, (topic, partition) => {
    const decision = decideUnclean(topic, partition, context.image, configs)
    if (decision?.warning !== undefined) warn(`${decision.warning} (it was asked for)`)
    return decision?.next
  })
}

function partitionsWhere(isMeant: (state: PartitionState) => boolean, { image }: RequestContext): PartitionOf[] {
  return [...image.topics.values()].flatMap(({ state: { name }, partitions }) =>
    partitions.flatMap((state, partition) => (isMeant(state) ? { topic: name, partition } : [])),
  )
}

async function change(
  partitions: readonly PartitionOf[],
  { image, store, fence }: RequestContext,
  decide: (topic: TopicRecord, partition: number) => PartitionWrite['next'] | undefined,
): Promise<MoveOutcome> {
  const writes: PartitionWrite[] = []
  const left: PartitionOf[] = []
  const seen = new Set<string>()
  for (const one of partitions) {
    const topic = topicOf(one.topic, image)
    const { partition } = one
    if (seen.has(`${partition} ${one.topic}`)) continue
    seen.add(`${partition} ${one.topic}`)
    const next = topic.partitions[partition] === undefined ? undefined : decide(topic, partition)
    if (next === undefined) left.push(one)
    else writes.push({ topic, partition, version: topic.partitionVersions[partition]!, next })
  }
  const outcome = await writePartitionStates(store, fence, writes)
  const named = ({ topic, partition }: PartitionWrite) => ({ topic: topic.state.name, partition })
  return { changed: outcome.applied.map(named), left: [...left, ...outcome.overtaken.map(named)] }
}
