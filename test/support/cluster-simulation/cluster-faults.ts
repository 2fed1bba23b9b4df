/**
 * ClusterFaults: the misfortunes of a simulated cluster, drawn and carried out. A new kind is a name in CLUSTER_FAULT_KINDS, a row here and
 * a counter in cluster-reach.ts.
 */

import { type BrokerState, brokerKey, decodeState } from '../../../src/coordination/keys.ts'
import type { StoreFault } from '../../../src/coordination/shared-memory-store.ts'
import { isMillraceError } from '../../../src/model/errors.ts'
import { between, pick } from '../simulation/seed-plan.ts'
import { churnOnce, sleep } from '../simulation/workload.ts'
import { type ClusterFaultKind, drawPauseMs } from './cluster-plan.ts'
import { CLIENTS_HOST, type ClusterRun } from './cluster-run.ts'
import { DiskDamage } from './disk-damage.ts'
import type { SimulatedNode } from './simulated-node.ts'

const STORE_FAULTS: readonly StoreFault[] = ['refused', 'requests-lost', 'replies-lost', 'held']
const GROWN_PARTITIONS_MAX = 4
const OPERATION_WAITS_MAX = 100
const WHOLE_WAITS_MAX = 600

export class ClusterFaults {
  readonly #run: ClusterRun
  /** Partitions of the topic that grows. */
  #grown = 0

  constructor(run: ClusterRun) {
    this.#run = run
  }

  /** One misfortune after the other. */
  async lane(): Promise<void> {
    const { time, plan, say } = this.#run
    const { prng } = time
    for (let count = 0; count < plan.faultEvents; count++) {
      await sleep(time, drawPauseMs(prng))
      const kind = pick(prng, plan.faults)
      say(`misfortune: ${kind}`)
      time.trace(kind)
      await this.#strikes[kind]()
    }
    await sleep(time, between(prng, 5, 1_000))
  }

  /** Nothing is wrong any more from here on. */
  async heal(): Promise<void> {
    const { network, store, nodes, plan, time } = this.#run
    Object.assign(network.faults, { delayMsMin: 0.05, delayMsMax: 0.5 })
    store.delayMsMax = 1
    for (const node of nodes) {
      network.powerOn(node.host)
      node.isHeldDown = false
      node.diesInRecovery = false
      node.deviceMsMax = plan.deviceMsMax
      node.machine.files.heal()
      node.mendStore(time.prng.below(2) === 0)
    }
    network.heal()
    await sleep(time, 1)
  }

  readonly #strikes: Readonly<Record<ClusterFaultKind, () => Promise<void>>> = {
    kill: async () => {
      this.#run.count('kill')
      this.#someNode().die('kill')
    },
    power: async () => {
      this.#run.count('power cut')
      this.#someNode().die('power')
    },
    'power-all': () => this.#powerAll(),
    blackout: () => this.#blackout(),
    damage: () => this.#damage(),
    'mid-operation': async () => {
      const { prng } = this.#run.time
      const node = this.#someNode()
      node.machine.dieAtOperation(prng.below(300), pick(prng, ['kill', 'power']))
      node.diesInRecovery = prng.below(2) === 0
    },
    'stop-process': () => this.#someNode().stopFor(this.#duration(200, 8_000)),
    restart: () => this.#someNode().restart(),
    'rolling-restart': async () => {
      for (const node of this.#run.nodes) {
        await node.restart()
        await sleep(this.#run.time, this.#duration(50, 3_000))
      }
    },
    isolate: () => {
      const node = this.#someNode()
      const others = this.#run.nodes.filter((each) => each !== node).map(({ host }) => host)
      return this.#cutFor([node.host], others)
    },
    halves: () => {
      const { nodes, time } = this.#run
      const left = nodes.filter(() => time.prng.below(2) === 0).map(({ host }) => host)
      const right = nodes.map(({ host }) => host).filter((host) => !left.includes(host))
      if (time.prng.below(2) === 0) left.push(CLIENTS_HOST)
      return this.#cutFor(left, right)
    },
    'one-way': async () => {
      const { network, count, time } = this.#run
      const [from, to] = [this.#someNode().host, this.#someNode().host]
      if (from !== to) count('one-way cut')
      network.cutOneWay([from], [to])
      await sleep(time, this.#duration(200, 6_000))
      network.heal()
    },
    'clients-cut': async () => {
      const { network, count, time } = this.#run
      count('clients cut off')
      network.cut([CLIENTS_HOST], [this.#someNode().host])
      await sleep(time, this.#duration(200, 6_000))
      network.heal()
    },
    'slow-network': async () => {
      const { network, count, time } = this.#run
      count('slow network')
      network.faults.delayMsMax = between(time.prng, 10, 300)
      await sleep(time, this.#duration(200, 3_000))
      network.faults.delayMsMax = 0.5
    },
    reset: async () => {
      this.#run.count('connections reset')
      this.#run.network.resetAll()
    },
    'clock-jump': async () => {
      this.#run.count('clock jump')
      this.#someNode().wallOffsetMs = Math.floor(between(this.#run.time.prng, -5_000_000, 5_000_000))
    },
    'store-cut': () => this.#cutStoreFor([this.#someNode()]),
    'store-down': () => this.#cutStoreFor(this.#run.nodes),
    'slow-store': async () => {
      const { store, count, time } = this.#run
      count('slow store')
      store.delayMsMax = between(time.prng, 20, 600)
      await sleep(time, this.#duration(200, 4_000))
      store.delayMsMax = 1
    },
    'lease-end': async () => {
      const { store, count } = this.#run
      const stored = store.shared.state.get(brokerKey(this.#someNode().nodeId))
      if (stored === undefined) return
      count('lease ended')
      store.shared.endLease((JSON.parse(new TextDecoder().decode(stored.value)) as { leaseId: string }).leaseId)
    },
    'store-compact': async () => {
      const { store, count, time } = this.#run
      count('store compacted')
      const node = this.#someNode()
      // A watch that is away while the past is forgotten.
      node.cutStore('refused')
      await sleep(time, this.#duration(50, 1_500))
      store.shared.compact()
      node.mendStore(false)
    },
    'slow-disk': async () => {
      const { count, time, plan } = this.#run
      const node = this.#someNode()
      count('slow disk')
      node.deviceMsMax = between(time.prng, 20, 400)
      await sleep(time, this.#duration(100, 3_000))
      node.deviceMsMax = plan.deviceMsMax
    },
    'disk-full': async () => {
      const { count, time } = this.#run
      const { files } = this.#someNode().machine
      count('disk full')
      files.limitSpace(time.prng.below(pick(time.prng, [1, 5_000, 100_000])))
      await sleep(time, this.#duration(100, 3_000))
      files.heal()
    },
    'sync-failure': async () => {
      const { count, time } = this.#run
      const { files } = this.#someNode().machine
      const path = pick(time.prng, ['.log', '/state/'])
      const skip = time.prng.below(10)
      files.inject({ on: ['fdatasync', 'fsync'], path, skip, effect: { kind: 'fail', code: 'EIO' } })
      await sleep(time, this.#duration(100, 2_000))
      if (files.faultCount > 0) count('fsync failure')
    },
    'short-write': async () => {
      const { count, time } = this.#run
      const { prng } = time
      const { files } = this.#someNode().machine
      const thenFail = pick(prng, [undefined, 'ENOSPC', 'EIO'] as const)
      const bytes = prng.below(1_500)
      files.inject({
        ...{ on: 'write', path: pick(prng, ['.log', '/state/']), skip: prng.below(20) },
        effect: { kind: 'short-write', bytes, ...(thenFail === undefined ? {} : { thenFail }) },
      })
      await sleep(time, this.#duration(100, 2_000))
      if (files.faultCount > 0) count('short write')
    },
    topics: () => this.#changeTopics(),
    shadow: async () => this.#run.checkShadow(),
  }

  #someNode(): SimulatedNode {
    return pick(this.#run.time.prng, this.#run.nodes)
  }

  #duration(min: number, max: number): number {
    return between(this.#run.time.prng, min, pick(this.#run.time.prng, [min, max / 3, max]))
  }

  async #powerAll(): Promise<void> {
    const { nodes, count } = this.#run
    count('power cut of all nodes')
    for (const node of nodes) node.die('power')
    // I1 of what is left, whatever of the unsynced has survived.
    this.#run.checkShadow()
  }

  /** All at one moment, perhaps within a disk operation of one of them; perhaps again while they recover. */
  async #blackout(): Promise<void> {
    const { nodes, time } = this.#run
    const { prng } = time
    for (let cuts = pick(prng, [1, 1, 2, 3]); cuts > 0; cuts--) {
      const victim = prng.below(2) === 0 ? undefined : this.#someNode()
      if (victim === undefined) this.#cutPower()
      else await this.#cutPowerWithin(victim)
      const isUnsteady = prng.below(4) === 0
      for (const node of nodes) node.diesInRecovery = isUnsteady && prng.below(2) === 0
      await sleep(time, this.#duration(0, 3_000))
    }
  }

  #cutPower(): void {
    const { nodes, count } = this.#run
    count('power cut of all nodes')
    if (nodes.some((node) => node.isAlive && !node.isServing)) count('power cut in recovery')
    for (const node of nodes) node.losePower()
    this.#run.checkShadow()
  }

  /** As soon as the node is in one of its next operations; it may not come to any. */
  async #cutPowerWithin(victim: SimulatedNode): Promise<void> {
    const { time } = this.#run
    let isOver = false
    victim.onDeathWithin = () => {
      isOver = true
      this.#cutPower()
    }
    victim.machine.dieAtOperation(time.prng.below(pick(time.prng, [5, 50, 300])), 'power')
    for (let waits = 0; !isOver && waits < OPERATION_WAITS_MAX; waits++) await sleep(time, 20)
    victim.onDeathWithin = () => {}
    if (!isOver) this.#cutPower()
  }

  /** One at a time: who was damaged before is in sync again, so that it is always a minority. */
  async #damage(): Promise<void> {
    const { time, count, say } = this.#run
    const { prng } = time
    for (let waits = 0; !this.#isWhole(); waits++) {
      if (waits === WHOLE_WAITS_MAX) return
      await sleep(time, 100)
    }
    const node = this.#someNode()
    const end = pick(prng, ['kill', 'power', 'stop'] as const)
    node.isHeldDown = true
    if (end === 'stop') await node.restart()
    else count(end === 'kill' ? 'kill' : 'power cut')
    node.die(end === 'power' ? 'power' : 'kill')
    // Sometimes the others go on without it, sometimes it is back before they know.
    await sleep(time, this.#duration(0, 6_000))
    node.damage(new DiskDamage({ ...{ machine: node.machine, prng, isPageCacheWhole: end !== 'power', count, say } }))
    node.isHeldDown = false
  }

  /** Every replica is in sync, and none is about to leave because its broker has found it damaged. */
  #isWhole(): boolean {
    const { nodes, store } = this.#run
    const isSound = ({ nodeId, isServing }: SimulatedNode): boolean => {
      const key = brokerKey(nodeId)
      const stored = store.shared.state.get(key)
      if (!isServing || stored === undefined) return false
      const { damaged, failed = [] } = decodeState<BrokerState>(key, stored.value)
      return damaged.length + failed.length === 0
    }
    return this.#run.isComplete() && nodes.every(isSound)
  }

  async #cutFor(one: readonly string[], other: readonly string[]): Promise<void> {
    const { network, count, time } = this.#run
    if (one.length > 0 && other.length > 0) count('network cut')
    network.cut(one, other)
    await sleep(time, this.#duration(200, 8_000))
    network.heal()
  }

  async #cutStoreFor(nodes: readonly SimulatedNode[]): Promise<void> {
    const { prng } = this.#run.time
    const fault = pick(prng, STORE_FAULTS)
    for (const node of nodes) node.cutStore(fault)
    await sleep(this.#run.time, this.#duration(100, 8_000))
    for (const node of nodes) node.mendStore(prng.below(2) === 0)
  }

  async #changeTopics(): Promise<void> {
    const { context, count, time } = this.#run
    if (time.prng.below(2) === 0) return churnOnce(context)
    const client = await this.#run.connect()
    try {
      if (this.#grown === 0) await client.admin.topics.create('grows', { partitions: 1, ifNotExists: true })
      else if (this.#grown < GROWN_PARTITIONS_MAX) {
        await client.admin.topics.alter('grows', { partitions: this.#grown + 1 })
        count('partitions added')
      }
      this.#grown++
    } catch (error) {
      if (!isMillraceError(error)) throw error
      time.trace(error.code)
    }
    await client.close()
  }
}
