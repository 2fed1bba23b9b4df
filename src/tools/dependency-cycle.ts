/**
 * Dependency cycles: of transactions that depend on each other, the shortest circles with at least one read in it.
 *
 * A circle lies within a strongly connected component (Tarjan 1972, without recursion); one is searched breadth first from
 * each read of the component.
 *
 * Limits    linear in nodes and edges; at most SEARCHES_MAX searches a component, so the circle is the shortest of those
 */

export interface Dependency {
  readonly from: number
  readonly to: number
  /** `to` read what `from` wrote; otherwise it only wrote behind it. */
  readonly isRead: boolean
}

/** For one component. */
const SEARCHES_MAX = 64

/** A circle for each component that has one with a read in it: dependencies, each beginning where the one before ends. */
export function findCycles<Edge extends Dependency>(nodesCount: number, dependencies: readonly Edge[]): Edge[][] {
  const outgoing: Edge[][] = Array.from({ length: nodesCount }, () => [])
  for (const dependency of dependencies) outgoing[dependency.from]!.push(dependency)
  const componentOf = components(outgoing)
  const readsOf = new Map<number, Edge[]>()
  for (const dependency of dependencies) {
    const component = componentOf[dependency.from]!
    if (!dependency.isRead || component !== componentOf[dependency.to]) continue
    const reads = readsOf.get(component)
    if (reads === undefined) readsOf.set(component, [dependency])
    else if (reads.length < SEARCHES_MAX) reads.push(dependency)
  }
  return [...readsOf.values()].map((reads) => {
    const cycles = reads.map((read) => [read, ...shortestPath(outgoing, read.to, read.from)])
    return cycles.reduce((best, cycle) => (cycle.length < best.length ? cycle : best))
  })
}

/** node -> number of its strongly connected component */
function components(outgoing: readonly (readonly Dependency[])[]): Int32Array {
  const count = outgoing.length
  const componentOf = new Int32Array(count).fill(-1)
  const order = new Int32Array(count).fill(-1)
  const low = new Int32Array(count)
  const nextEdge = new Int32Array(count)
  const stack: number[] = []
  const path: number[] = []
  let visited = 0
  for (let root = 0; root < count; root++) {
    if (order[root] !== -1) continue
    path.push(root)
    while (path.length > 0) {
      const node = path.at(-1)!
      if (order[node] === -1) {
        order[node] = low[node] = visited++
        stack.push(node)
      }
      const edge = outgoing[node]![nextEdge[node]!++]
      if (edge !== undefined) {
        if (order[edge.to] === -1) path.push(edge.to)
        else if (componentOf[edge.to] === -1) low[node] = Math.min(low[node]!, order[edge.to]!)
        continue
      }
      path.pop()
      const parent = path.at(-1)
      if (parent !== undefined) low[parent] = Math.min(low[parent]!, low[node]!)
      if (low[node] === order[node]) {
        let member: number
        do componentOf[(member = stack.pop()!)] = node
        while (member !== node)
      }
    }
  }
  return componentOf
}

/** There is one: both lie in one component. */
function shortestPath<Edge extends Dependency>(
  outgoing: readonly (readonly Edge[])[],
  from: number,
  to: number,
): Edge[] {
  const cameBy = new Map<number, Edge | undefined>([[from, undefined]])
  const queue = [from]
  for (let index = 0; !cameBy.has(to); index++) {
    for (const edge of outgoing[queue[index]!]!) {
      if (cameBy.has(edge.to)) continue
      cameBy.set(edge.to, edge)
      queue.push(edge.to)
    }
  }
  const path: Edge[] = []
  for (let edge = cameBy.get(to); edge !== undefined; edge = cameBy.get(edge.from)) path.unshift(edge)
  return path
}
