/**
 * Move plans: which replicas should move where: as asked for, to empty a broker, to even out the cluster; data that can be shown, kept as
 * JSON and carried out later. Pure.
 *
 * Invariants  MP1 a plan moves replicas only to brokers that live, do not stop and are not decommissioned, and never two of a partition
 *             to one broker
 *             MP2 no partition has fewer racks after its move than it had, where others can be had
 *             MP3 rebalancing moves a replica only from a broker that has more to one that has fewer: no move is for nothing
 *             MP4 a broker whose disk is low gets a replica only as asked, or where it alone is left, or keeps the racks apart
 * Limits      partitions that move already are left alone
 */
import { MillraceError } from '../../model/errors.ts'
import type { TopicId } from '../../model/ids.ts'
import { isInternalTopic } from '../../model/internal-topics.ts'
import type { ClusterImage } from '../cluster-image.ts'
import type { TopicRecord } from '../topics.ts'
import { isDiskLow, takesReplicas } from './membership.ts'
import { isMoving, targetOf } from './reassignment.ts'

export interface ReplicaMove {
  readonly topic: string
  readonly topicId: TopicId
  readonly partition: number
  readonly from: readonly number[]
  /** The preferred leader first. */
  readonly to: readonly number[]
}

export interface MovePlan {
  readonly moves: readonly ReplicaMove[]
  /** Partitions that should move and cannot. */
  readonly stuck: readonly { readonly topic: string; readonly partition: number; readonly reason: string }[]
}

export interface ReassignmentWish {
  readonly topic: string
  readonly partition: number
  readonly replicas: readonly number[]
}

/** The plan that carries out exactly what is wished; throws where it cannot be. */
export function planReassignment(image: ClusterImage, wishes: readonly ReassignmentWish[]): MovePlan {
  const moves: ReplicaMove[] = []
  if (new Set(wishes.map(({ topic, partition }) => `${partition} ${topic}`)).size < wishes.length)
    throw new MillraceError('INVALID_REQUEST', 'a partition comes twice')
  for (const { topic: name, partition, replicas } of wishes) {
    const topic = image.topicByName(name)
    const state = topic?.partitions[partition]
    if (topic === undefined || state === undefined)
      throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', `there is no partition ${partition} of '${name}'`)
    checkTarget(image, `${name}-${partition}`, replicas, state.replicas)
    const from = targetOf(state)
    if (from.join() !== replicas.join()) moves.push(moveOf(topic, partition, from, replicas))
  }
  return { moves, stuck: [] }
}

function checkTarget(image: ClusterImage, name: string, target: readonly number[], current: readonly number[]): void {
  if (target.length === 0 || new Set(target).size !== target.length)
    throw new MillraceError('INVALID_REPLICA_ASSIGNMENT', `${name}: replicas are brokers, at least one, each once`)
  for (const nodeId of target) {
    // Who has it may keep it while it is away.
    if (current.includes(nodeId) || takesReplicas(nodeId, image)) continue
    throw new MillraceError(
      'INVALID_REPLICA_ASSIGNMENT',
      `${name}: broker ${nodeId} is not there, about to stop, or decommissioned`,
    )
  }
}

function moveOf(topic: TopicRecord, partition: number, from: readonly number[], to: readonly number[]): ReplicaMove {
  return { topic: topic.state.name, topicId: topic.topicId, partition, from, to }
}

/** What brokers hold, counted along while a plan grows. */
class Loads {
  readonly replicas = new Map<number, number>()
  readonly leaders = new Map<number, number>()
  readonly #racks = new Map<number, string>()
  readonly #image: ClusterImage
  readonly takers: readonly number[]

  constructor(image: ClusterImage) {
    this.#image = image
    const takers: number[] = []
    for (const [nodeId, { state }] of image.brokers) {
      this.#racks.set(nodeId, state.rack ?? `node ${nodeId}`)
      if (takesReplicas(nodeId, image)) takers.push(nodeId)
    }
    this.takers = takers.sort((left, right) => left - right)
    for (const topic of image.topics.values()) for (const state of topic.partitions) this.add(targetOf(state), 1)
  }

  add(nodes: readonly number[], by: number): void {
    for (const nodeId of nodes) this.replicas.set(nodeId, this.replicasOn(nodeId) + by)
    if (nodes[0] !== undefined) this.leaders.set(nodes[0], this.leadsOf(nodes[0]) + by)
  }

  replicasOn(nodeId: number): number {
    return this.replicas.get(nodeId) ?? 0
  }

  leadsOf(nodeId: number): number {
    return this.leaders.get(nodeId) ?? 0
  }

  hasRoom(nodeId: number): boolean {
    return !isDiskLow(nodeId, this.#image)
  }

  racksOf(nodes: readonly number[]): number {
    return new Set(nodes.map((nodeId) => this.#racks.get(nodeId) ?? `node ${nodeId}`)).size
  }
}

/** Every replica of the broker goes to another one; it may live or not. */
export function planDecommission(image: ClusterImage, nodeId: number, movesMax = Number.POSITIVE_INFINITY): MovePlan {
  const loads = new Loads(image)
  const moves: ReplicaMove[] = []
  const stuck: MovePlan['stuck'][number][] = []
  for (const topic of image.topics.values())
    for (const [partition, state] of topic.partitions.entries()) {
      if (moves.length >= movesMax) return { moves, stuck }
      const from = targetOf(state)
      if (isMoving(state) || !from.includes(nodeId)) continue
      const to = withoutBroker(from, nodeId, loads, image)
      if (to === undefined) {
        const reason = `no broker is left that could take the replica of broker ${nodeId}`
        stuck.push({ topic: topic.state.name, partition, reason })
        continue
      }
      loads.add(from, -1)
      loads.add(to, 1)
      moves.push(moveOf(topic, partition, from, to))
    }
  return { moves, stuck }
}

/** In its place: the broker that keeps most racks apart, then one whose disk has room, then the one that holds least. */
function withoutBroker(
  from: readonly number[],
  nodeId: number,
  loads: Loads,
  image: ClusterImage,
): number[] | undefined {
  const candidates = loads.takers.filter((taker) => taker !== nodeId && !from.includes(taker))
  const rest = from.filter((other) => other !== nodeId && image.nodes.get(other)?.state.isDecommissioned !== true)
  let best: number | undefined
  for (const candidate of candidates)
    if (best === undefined || compareTakers(candidate, best, rest, loads) < 0) best = candidate
  return best === undefined ? undefined : from.map((other) => (other === nodeId ? best : other))
}

function compareTakers(left: number, right: number, rest: readonly number[], loads: Loads): number {
  return (
    loads.racksOf([...rest, right]) - loads.racksOf([...rest, left]) ||
    Number(loads.hasRoom(right)) - Number(loads.hasRoom(left)) ||
    loads.replicasOn(left) - loads.replicasOn(right) ||
    loads.leadsOf(left) - loads.leadsOf(right) ||
    left - right
  )
}

/**
 * More replicas for the broker's own topics, which are made when the first client needs one, however few brokers there are then: up to
 * `replicas` of each partition, as far as there are brokers. None is taken away.
 */
export function planGrowth(image: ClusterImage, replicas: number): MovePlan {
  const loads = new Loads(image)
  const moves: ReplicaMove[] = []
  for (const topic of image.topics.values()) {
    if (!isInternalTopic(topic.state.name)) continue
    for (const [partition, state] of topic.partitions.entries()) {
      const from = targetOf(state)
      if (isMoving(state) || from.length >= replicas) continue
      const to = [...from]
      while (to.length < replicas) {
        const candidates = loads.takers.filter((taker) => !to.includes(taker))
        if (candidates.length === 0) break
        to.push(candidates.reduce((best, one) => (compareTakers(one, best, to, loads) < 0 ? one : best)))
      }
      if (to.length === from.length) continue
      loads.add(from, -1)
      loads.add(to, 1)
      moves.push(moveOf(topic, partition, from, to))
    }
  }
  return { moves, stuck: [] }
}

/** As few moves as make each topic, then the whole, even over the brokers there are. */
export function planRebalance(image: ClusterImage): MovePlan {
  const loads = new Loads(image)
  const targets = new Map<TopicRecord, number[][]>()
  for (const topic of image.topics.values()) targets.set(topic, topic.partitions.map(targetOf))
  // First what makes topics even; then moves between brokers that a topic uses by one more and one less, while the whole gets better.
  for (const [topic, sets] of targets) while (evenOnce(topic, sets, loads, 2));
  for (let isMoving = true; isMoving; ) {
    isMoving = false
    for (const [topic, sets] of targets) while (evenOnce(topic, sets, loads, 1)) isMoving = true
  }
  const moves: ReplicaMove[] = []
  for (const [topic, sets] of targets)
    for (const [partition, to] of sets.entries()) {
      const from = targetOf(topic.partitions[partition]!)
      if (from.join() !== to.join()) moves.push(moveOf(topic, partition, from, to))
    }
  return { moves, stuck: [] }
}

/** Moves one replica of the topic from a broker that has at least `difference` more of it; false = there is none to move. */
function evenOnce(topic: TopicRecord, sets: number[][], loads: Loads, difference: number): boolean {
  const counts = new Map<number, number>(loads.takers.map((nodeId) => [nodeId, 0]))
  for (const nodeId of sets.flat()) if (counts.has(nodeId)) counts.set(nodeId, counts.get(nodeId)! + 1)
  const order = [...loads.takers].sort(
    (left, right) => counts.get(left)! - counts.get(right)! || loads.replicasOn(left) - loads.replicasOn(right),
  )
  for (const heavy of order.toReversed())
    for (const light of order) {
      const more = counts.get(heavy)! - counts.get(light)!
      if (more < difference) break
      if (!loads.hasRoom(light)) continue
      if (more === 1 && loads.replicasOn(heavy) - loads.replicasOn(light) < 2) continue
      if (moveReplica(topic, sets, heavy, light, loads)) return true
    }
  return false
}

function moveReplica(topic: TopicRecord, sets: number[][], heavy: number, light: number, loads: Loads): boolean {
  let choice = -1
  for (const [partition, set] of sets.entries()) {
    if (isMoving(topic.partitions[partition]!) || !set.includes(heavy) || set.includes(light)) continue
    if (loads.racksOf(set.map((nodeId) => (nodeId === heavy ? light : nodeId))) < loads.racksOf(set)) continue
    // A lead goes with it where the heavy one leads more.
    const wantsLead = loads.leadsOf(heavy) > loads.leadsOf(light) + 1
    if (choice === -1 || (set[0] === heavy) === wantsLead) choice = partition
    if ((set[0] === heavy) === wantsLead) break
  }
  if (choice === -1) return false
  const before = sets[choice]!
  const after = before.map((nodeId) => (nodeId === heavy ? light : nodeId))
  loads.add(before, -1)
  loads.add(after, 1)
  sets[choice] = after
  return true
}
