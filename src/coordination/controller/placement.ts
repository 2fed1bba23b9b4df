/**
 * Placement: on which brokers the replicas of a topic's partitions lie and which of them is preferred to lead (T1); pure, and the same
 * for the same seed.
 *
 * Invariants  PL1 a partition's replicas are on different brokers; no two share a rack while another rack has none
 *             PL2 within a topic the brokers' replica counts, and their counts of preferred leaders, differ by at most one, where racks let them
 *             PL3 among brokers that the topic uses equally, those with fewer replicas of other topics come first
 * Limits      a topic of P partitions with R replicas on B brokers costs about P · R · B steps
 */
import { assert } from '../../base/assert.ts'
import { SeededPrng } from '../../base/prng.ts'
import type { TopicId } from '../../model/ids.ts'

export interface PlacementBroker {
  readonly nodeId: number
  /** Null: a rack of its own. */
  readonly rack: string | null
  /** Of other topics: replicas that lie there, and partitions that it is preferred to lead. */
  readonly replicas: number
  readonly leaders: number
}

export interface PlacementWish {
  readonly brokers: readonly PlacementBroker[]
  /** What the topic has already: only counted, never moved. */
  readonly existing: readonly (readonly number[])[]
  readonly partitions: number
  /** Per partition; not more than there are brokers. */
  readonly replicas: number
  /** Breaks ties. */
  readonly seed: number
}

/** A broker with what this topic puts on it. */
interface Seat {
  readonly nodeId: number
  readonly rack: string
  readonly elsewhere: PlacementBroker
  /** Place in the seed's order. */
  readonly place: number
  replicas: number
  leaders: number
}

/** The replicas of each new partition, the preferred leader first. */
export function placeReplicas(wish: PlacementWish): number[][] {
  const { brokers, existing, partitions, replicas } = wish
  assert(replicas >= 1 && replicas <= brokers.length, `${replicas} replicas do not fit on ${brokers.length} brokers`)
  const seats = seatsOf(wish)
  const byNode = new Map(seats.map((seat) => [seat.nodeId, seat]))
  for (const nodes of existing)
    for (const [index, nodeId] of nodes.entries()) {
      const seat = byNode.get(nodeId)
      if (seat === undefined) continue
      seat.replicas++
      if (index === 0) seat.leaders++
    }
  const sets: Seat[][] = []
  for (let partition = 0; partition < partitions; partition++) sets.push(seatsFor(seats, replicas))
  evenReplicas(seats, sets)
  return leadersFirst(seats, sets).map((set) => set.map(({ nodeId }) => nodeId))
}

/** A topic's own order of brokers: ids are random, so topics of one partition do not all begin with the same broker. */
export function seedOf(topicId: TopicId): number {
  return Number.parseInt(topicId.slice(0, 12), 16)
}

function seatsOf({ brokers, seed }: PlacementWish): Seat[] {
  const prng = new SeededPrng(seed)
  const order = [...brokers].sort((left, right) => left.nodeId - right.nodeId)
  for (let index = order.length - 1; index > 0; index--) {
    const other = prng.below(index + 1)
    ;[order[index], order[other]] = [order[other]!, order[index]!]
  }
  return order.map((elsewhere, place) => ({
    ...{ nodeId: elsewhere.nodeId, rack: rackOf(elsewhere), elsewhere, place, replicas: 0, leaders: 0 },
  }))
}

function rackOf({ rack, nodeId }: PlacementBroker): string {
  return rack === null ? `node ${nodeId}` : `rack ${rack}`
}

/** Takes the seats of one partition, one after the other, each from the racks that it uses least. */
function seatsFor(seats: readonly Seat[], replicas: number): Seat[] {
  const taken: Seat[] = []
  const usesOf = new Map<string, number>()
  while (taken.length < replicas) {
    let choice: Seat | undefined
    for (const seat of seats) {
      if (taken.includes(seat)) continue
      const more = choice === undefined ? -1 : (usesOf.get(seat.rack) ?? 0) - (usesOf.get(choice.rack) ?? 0)
      if (more < 0 || (more === 0 && compareWeight(seat, choice!) < 0)) choice = seat
    }
    assert(choice !== undefined, 'there are fewer brokers than replicas')
    taken.push(choice)
    usesOf.set(choice.rack, (usesOf.get(choice.rack) ?? 0) + 1)
    choice.replicas++
  }
  // Whoever leads least leads; among equals the one that will be taken again latest.
  const leader = taken.reduce((left, right) => (compareLeaders(right, left) < 0 ? right : left))
  leader.leaders++
  return [leader, ...taken.filter((seat) => seat !== leader)]
}

function compareWeight(left: Seat, right: Seat): number {
  return (
    left.replicas - right.replicas ||
    left.leaders - right.leaders ||
    left.elsewhere.replicas - right.elsewhere.replicas ||
    left.elsewhere.leaders - right.elsewhere.leaders ||
    left.place - right.place
  )
}

function compareLeaders(left: Seat, right: Seat): number {
  return (
    left.leaders - right.leaders ||
    left.elsewhere.leaders - right.elsewhere.leaders ||
    right.replicas - left.replicas ||
    left.place - right.place
  )
}

/** Where racks made one broker heavy: its replicas go to light ones as long as no partition's racks suffer. */
function evenReplicas(seats: readonly Seat[], sets: Seat[][]): void {
  for (let isMoving = true; isMoving; ) {
    isMoving = false
    const byWeight = [...seats].sort((left, right) => right.replicas - left.replicas || left.place - right.place)
    for (const heavy of byWeight) {
      const light = byWeight.findLast((seat) => seat.replicas < heavy.replicas - 1 && moveOne(sets, heavy, seat))
      if (light === undefined) continue
      isMoving = true
      break
    }
  }
}

function moveOne(sets: Seat[][], heavy: Seat, light: Seat): boolean {
  for (const set of sets) {
    if (!set.includes(heavy) || set.includes(light)) continue
    const changed = set.map((seat) => (seat === heavy ? light : seat))
    if (racksOf(changed) < racksOf(set)) continue
    if (set[0] === heavy) {
      heavy.leaders--
      light.leaders++
    }
    set.splice(0, set.length, ...changed)
    heavy.replicas--
    light.replicas++
    return true
  }
  return false
}

function racksOf(set: readonly Seat[]): number {
  return new Set(set.map(({ rack }) => rack)).size
}

/**
 * The sets, each with its leader first, so that leaders are even: while one broker leads two more than another and leads can be passed
 * on from it to that one, partition by partition, they are. What is left then cannot be more even (it is a flow without an augmenting path).
 */
function leadersFirst(seats: readonly Seat[], sets: readonly Seat[][]): Seat[][] {
  const result = sets.map((set) => [...set])
  for (;;) {
    const byLeaders = [...seats].sort((left, right) => right.leaders - left.leaders || left.place - right.place)
    const few = byLeaders.at(-1)!.leaders + 1
    const led = ledBy(seats, result)
    let path: number[] | undefined
    for (const seat of byLeaders) if (seat.leaders > few) path ??= pathToLighter(seat, result, led)
    if (path === undefined) return result
    passOn(result, path)
  }
}

function ledBy(seats: readonly Seat[], sets: readonly Seat[][]): Map<Seat, number[]> {
  const led = new Map<Seat, number[]>(seats.map((seat) => [seat, []]))
  for (const [partition, set] of sets.entries()) led.get(set[0]!)!.push(partition)
  return led
}

/** Partitions by which a lead passes on from `from` to a broker that leads at least two fewer; the last entry is that broker's. */
function pathToLighter(
  from: Seat,
  sets: readonly Seat[][],
  led: ReadonlyMap<Seat, readonly number[]>,
): number[] | undefined {
  const cameBy = new Map<Seat, { readonly partition: number; readonly previous: Seat } | undefined>([[from, undefined]])
  const open = [from]
  for (let seat = open.shift(); seat !== undefined; seat = open.shift()) {
    if (seat.leaders <= from.leaders - 2) return pathBack(seat, cameBy)
    for (const partition of led.get(seat)!)
      for (const next of sets[partition]!)
        if (!cameBy.has(next)) {
          cameBy.set(next, { partition, previous: seat })
          open.push(next)
        }
  }
  return undefined
}

function pathBack(
  to: Seat,
  cameBy: ReadonlyMap<Seat, { readonly partition: number; readonly previous: Seat } | undefined>,
): number[] {
  const path: number[] = [to.nodeId]
  for (let step = cameBy.get(to); step !== undefined; step = cameBy.get(step.previous)) path.unshift(step.partition)
  return path
}

/** Each partition of the path is led by the leader of the next one, the last by the broker at its end. */
function passOn(sets: Seat[][], path: readonly number[]): void {
  const partitions = path.slice(0, -1)
  const leaders = [...partitions.slice(1).map((partition) => sets[partition]![0]!.nodeId), path.at(-1)!]
  for (const [index, partition] of partitions.entries()) {
    const set = sets[partition]!
    const leader = set.find(({ nodeId }) => nodeId === leaders[index])!
    set[0]!.leaders--
    leader.leaders++
    sets[partition] = [leader, ...set.filter((seat) => seat !== leader)]
  }
}
