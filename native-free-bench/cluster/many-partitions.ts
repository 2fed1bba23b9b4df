/**
 * Many replicated partitions, a record in each.
 *
 *   idle         the CPU of each broker, as a part of one core, when nothing is written or read and all is in sync; then with a few
 *                records a second in one of the partitions
 *   leader-loss  kill -9 of the broker that leads a third of them: until the store names another leader for each, counted from the kill and
 *                from when the loss is noticed (its lease is gone from the store, whether it ended or was revoked); and until a producer with
 *                the client's defaults has a record acknowledged in each. A broker after the other; leaders go back between runs
 */
import { setTimeout } from 'node:timers/promises'
import { connect } from '../../src/client/index.ts'
import type { ImageChange } from '../../src/coordination/cluster-image.ts'
import { until } from '../../test/support/until.ts'
import { Values } from '../harness/values.ts'
import { type BenchCluster, type ClusterTopic, NODES } from './bench-cluster.ts'
import { MachineLoad } from './machine-load.ts'
import { type Part, type PartContext, repeat, sumOf } from './part.ts'
import { SteadyLoad } from './steady-load.ts'

/** After which the checkpoint that the records brought is written, and whoever lagged is looked at. */
const CALM_MS = 25_000
const LED_MS_MAX = 120_000
const ACKED_MS_MAX = 120_000
const SECONDS = { unit: 's', better: 'lower', digits: 2 } as const
const SHARE = { unit: '% of a core', better: 'lower', digits: 1 } as const

export const idlePart: Part = {
  name: 'idle',
  profile: 'balanced',
  run: async (context) => {
    const { options, cluster } = context
    const seconds = options.number('seconds', 20, 0.5)
    const runs = options.number('runs', 5, 1)
    const measure = (name: string, body: () => Promise<unknown>) =>
      repeat(context, runs, async (values) => {
        const { cpu } = await cluster.withCpu(body)
        const shares = [...cpu.values()].map((used) => (used / seconds) * 100)
        values.add(`${name}: CPU of a broker, mean`, sumOf(cpu) / NODES.length / (seconds / 100), SHARE)
        values.add(`${name}: CPU of the busiest broker`, Math.max(...shares), SHARE)
      })
    await measure('idle, no topic', () => setTimeout(seconds * 1000))
    await withMany(context, async ({ name, partitions }) => {
      await setTimeout(options.smoke ? 0 : CALM_MS)
      await measure(`idle, ${partitions} partitions`, () => setTimeout(seconds * 1000))
      // A record wakes the followers' fetches of everything that is led beside it.
      const rate = options.number('trickle-rate', 100, 100)
      const load = await SteadyLoad.start(cluster.url, { name, partitions: 1 }, rate)
      await measure(`${partitions} partitions, ${rate} records/s in one`, () => setTimeout(seconds * 1000))
      await load.end()
      load.check()
    })
  },
}

export const leaderLossPart: Part = {
  name: 'leader-loss',
  profile: 'balanced',
  run: async (context) => {
    const { options, report, cluster } = context
    const runs = options.number('runs', 6, 1)
    await withMany(context, async (topic) => {
      const values = new Values()
      const load = new MachineLoad()
      for (let run = 0; run < runs; run++) {
        await cluster.client.admin.cluster.electPreferred()
        await until('preferred leaders', LED_MS_MAX, () => isPreferred(cluster, topic))
        await load.during(() => loseOne(context, topic, { values, nodeId: NODES[run % NODES.length]! }))
      }
      values.tell(report)
      report.note(load.text())
    })
  },
}

/** Runs `body` with so many partitions of three replicas and a record in each, and tells how long it took until all was in sync. */
async function withMany(
  { cluster, options, report }: PartContext,
  body: (topic: ClusterTopic) => Promise<void>,
): Promise<void> {
  const partitions = options.number('partitions', 3_000, 12)
  const startedMs = performance.now()
  await cluster.withTopic(
    { partitions, replicas: NODES.length, config: { 'min.insync.replicas': '2' } },
    async (topic) => {
      const inSyncMs = performance.now()
      const producer = cluster.client.producer(topic.name)
      await producer.ready()
      for (let partition = 0; partition < partitions; partition++)
        while (!producer.enqueue({ value: `partition ${partition}`, partition })) await producer.ready()
      await producer.drain()
      await producer.close()
      const name = `${partitions} partitions of ${NODES.length} replicas`
      report.figure(`${name}: created to all in sync`, [(inSyncMs - startedMs) / 1000], SECONDS)
      report.figure(`${name}: a record in each`, [(performance.now() - inSyncMs) / 1000], SECONDS)
      const rss = NODES.map((nodeId) => cluster.broker(nodeId).rssMib())
      report.figure(`${name}: memory of a broker`, rss, { unit: 'MiB', better: 'lower', digits: 0 })
      await body(topic)
    },
  )
}

function isPreferred(cluster: BenchCluster, { name }: ClusterTopic): boolean {
  return cluster.partitionsOf(name).every(({ leader, replicas }) => leader === replicas[0])
}

async function loseOne(
  { cluster, report }: PartContext,
  topic: ClusterTopic,
  { values, nodeId }: { values: Values; nodeId: number },
): Promise<void> {
  const led = new Set(
    [...cluster.partitionsOf(topic.name).entries()].filter(([, { leader }]) => leader === nodeId).map(([at]) => at),
  )
  const role = cluster.controllerNodeId === nodeId ? 'which controls' : 'which does not control'
  const client = await connect(cluster.url)
  const producer = client.producer(topic.name)
  await producer.ready()
  const loss = new Loss(nodeId, topic.name, led)
  const end = cluster.onChanges((changes) => loss.onChanges(changes))
  const killedMs = performance.now()
  await cluster.broker(nodeId).kill()
  const acked = Promise.all([...led].map((partition) => producer.send({ value: 'after the loss', partition })))
  await until('new leaders', LED_MS_MAX, () => loss.ledMs !== undefined)
  const inTime = AbortSignal.timeout(ACKED_MS_MAX)
  await Promise.race([acked, new Promise((_, reject) => inTime.addEventListener('abort', () => reject(inTime.reason)))])
  const ackedMs = performance.now()
  end()
  const ledMs = loss.ledMs ?? Number.NaN
  const noticedMs = loss.noticedMs ?? Number.NaN
  const name = `loss of a broker that leads ${led.size} of ${topic.partitions}`
  report.note(
    `  node ${nodeId}, ${role}: noticed ${(noticedMs - killedMs).toFixed(0)} ms after the kill, all ${led.size} led ${(ledMs - noticedMs).toFixed(0)} ms after that, ` +
      `a record acknowledged in each ${(ackedMs - killedMs).toFixed(0)} ms after the kill`,
  )
  values.add(`${name}: kill to noticed`, (noticedMs - killedMs) / 1000, SECONDS)
  values.add(`${name}: noticed to all led again`, (ledMs - noticedMs) / 1000, SECONDS)
  values.add(`${name}: kill to all led again`, (ledMs - killedMs) / 1000, SECONDS)
  values.add(`${name}: kill to a record acknowledged in each`, (ackedMs - killedMs) / 1000, SECONDS)
  await client.close()
  await cluster.broker(nodeId).start()
  await cluster.settled(topic.name)
  values.add(`${name}: started again to all in sync`, (performance.now() - ackedMs) / 1000, SECONDS)
}

/** When the store let go of a broker, and when it had named another leader for all that the broker led. */
class Loss {
  readonly #nodeId: number
  readonly #topic: string
  readonly #left: Set<number>
  noticedMs: number | undefined
  ledMs: number | undefined

  constructor(nodeId: number, topic: string, led: ReadonlySet<number>) {
    this.#nodeId = nodeId
    this.#topic = topic
    this.#left = new Set(led)
  }

  onChanges(changes: readonly ImageChange[]): void {
    for (const change of changes) {
      if (change.kind === 'broker' && change.nodeId === this.#nodeId && change.broker === undefined)
        this.noticedMs ??= performance.now()
      if (change.kind !== 'partition' || change.topic.state.name !== this.#topic) continue
      const { leader } = change.state
      if (leader >= 0 && leader !== this.#nodeId) this.#left.delete(change.partition)
      if (this.#left.size === 0) this.ledMs ??= performance.now()
    }
  }
}
