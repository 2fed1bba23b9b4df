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

export function rackOf({ rack, nodeId }: PlacementBroker): string {
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

/** A replica that goes from one broker to another. */
interface Move {
  readonly set: Seat[]
  readonly from: Seat
  readonly to: Seat
}

/**
 * Where racks made one broker heavy: while a replica can be passed on from it, by way of others where need be, to one that has two fewer,
 * and no partition's racks suffer, it is.
 */
function evenReplicas(seats: readonly Seat[], sets: readonly Seat[][]): void {
  for (let path = movesToLighter(seats, sets); path !== undefined; path = movesToLighter(seats, sets)) {
    // From the light end: whoever passes one on has got none yet, so no set has a broker twice.
    for (const move of path.toReversed()) moveReplica(move)
  }
}

function movesToLighter(seats: readonly Seat[], sets: readonly Seat[][]): Move[] | undefined {
  const byWeight = [...seats].sort((left, right) => right.replicas - left.replicas || left.place - right.place)
  const lightFirst = byWeight.toReversed()
  const held = new Map<Seat, Seat[][]>(seats.map((seat) => [seat, []]))
  for (const set of sets) for (const seat of set) held.get(seat)!.push(set)
  // What a heavier one could not reach, those that it reached cannot either.
  const hopeless = new Set<Seat>()
  for (const heavy of byWeight) {
    if (heavy.replicas < lightFirst[0]!.replicas + 2) return undefined
    if (hopeless.has(heavy)) continue
    const path = movesFrom(heavy, { lightFirst, held, hopeless })
    if (path !== undefined) return path
  }
  return undefined
}

interface Ways {
  readonly lightFirst: readonly Seat[]
  /** The sets that each broker is in. */
  readonly held: ReadonlyMap<Seat, readonly Seat[][]>
  /** Gains what can be reached, when it is all too heavy. */
  readonly hopeless: Set<Seat>
}

/** The shortest way, each set used once at most. */
function movesFrom(heavy: Seat, { lightFirst, held, hopeless }: Ways): Move[] | undefined {
  const cameBy = new Map<Seat, readonly Move[]>([[heavy, []]])
  const open = [heavy]
  for (let seat = open.shift(); seat !== undefined; seat = open.shift()) {
    const path = cameBy.get(seat)!
    if (seat.replicas <= heavy.replicas - 2) return [...path]
    for (const set of held.get(seat)!) {
      if (path.some((move) => move.set === set)) continue
      const otherRacks = new Set(set.filter((one) => one !== seat).map(({ rack }) => rack))
      const isRackNeeded = otherRacks.size < racksOf(set)
      for (const next of lightFirst) {
        if (cameBy.has(next) || (isRackNeeded && otherRacks.has(next.rack)) || set.includes(next)) continue
        cameBy.set(next, [...path, { set, from: seat, to: next }])
        open.push(next)
      }
    }
  }
  for (const seat of cameBy.keys()) hopeless.add(seat)
  return undefined
}

function moveReplica({ set, from, to }: Move): void {
  const index = set.indexOf(from)
  set[index] = to
  from.replicas--
  to.replicas++
  if (index > 0) return
  from.leaders--
  to.leaders++
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
