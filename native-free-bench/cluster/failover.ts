/**
 * How long a client with its defaults is without acknowledgements when a leader goes, records coming at a steady rate in six partitions.
 *
 *   failover  kill -9: from the kill to the first acknowledgement of a record sent after it, of a partition that the broker led
 *   restart   SIGTERM, and started again: the longest time without an acknowledgement, of any one partition, until all is in sync again
 *
 * An error that the client is told fails the bench; so does a record that was acknowledged and is not there.
 */
import { setTimeout } from 'node:timers/promises'
import { checkStored } from '../../src/cli/bench/bench-target.ts'
import { AckTimes } from '../../test/support/chaos/ack-times.ts'
import { until } from '../../test/support/until.ts'
import { Values } from '../harness/values.ts'
import { type ClusterTopic, NODES } from './bench-cluster.ts'
import { MachineLoad } from './machine-load.ts'
import type { Part, PartContext } from './part.ts'
import { SteadyLoad } from './steady-load.ts'

const PARTITIONS = 6
const ACK_MS_MAX = 120_000
/** Between runs: connections are made again, the last round of the controller is over. */
const CALM_MS = 1_000
const LOWER_MS = { unit: 'ms', better: 'lower', digits: 0 } as const

type Run = (context: PartContext, scene: Scene) => Promise<void>

interface Scene {
  readonly topic: ClusterTopic
  readonly load: SteadyLoad
  readonly values: Values
  /** A partition of its. */
  readonly partition: number
  readonly nodeId: number
}

export const failoverPart: Part = { name: 'failover', profile: 'balanced', run: (context) => repeatOn(context, fail) }
export const restartPart: Part = { name: 'restart', profile: 'balanced', run: (context) => repeatOn(context, restart) }

async function repeatOn(context: PartContext, run: Run): Promise<void> {
  const { cluster, options, report } = context
  const runs = options.number('runs', 30, 1)
  const calmMs = options.smoke ? 0 : CALM_MS
  const config = { 'min.insync.replicas': '2' }
  await cluster.withTopic({ partitions: PARTITIONS, replicas: NODES.length, config }, async (topic) => {
    const load = await SteadyLoad.start(cluster.url, topic, options.number('load-rate', 300, 300))
    const values = new Values()
    const machine = new MachineLoad()
    for (let index = 0; index < runs; index++) {
      await setTimeout(calmMs)
      const partition = index % PARTITIONS
      const nodeId = cluster.partitionsOf(topic.name)[partition]!.leader
      load.acks = new AckTimes()
      await machine.during(() => run(context, { topic, load, values, partition, nodeId }))
      load.check()
    }
    await load.end()
    load.check()
    await checkStored({ client: cluster.client, url: cluster.url }, topic, load.acknowledged)
    values.tell(report)
    report.note(machine.text())
  })
}

async function fail(
  { cluster, report }: PartContext,
  { topic, load, values, partition, nodeId }: Scene,
): Promise<void> {
  const isController = cluster.controllerNodeId === nodeId
  const killedMs = performance.now()
  await cluster.broker(nodeId).kill()
  const ack = await until('acknowledgement of a new leader', ACK_MS_MAX, () => {
    const tookMs = load.acks.firstAfter(killedMs, partition)
    return tookMs !== undefined && { tookMs }
  })
  values.add('kill -9 of a leader to the first acknowledgement', ack.tookMs, LOWER_MS)
  report.note(`  node ${nodeId}${isController ? ', which controls' : ''}: ${ack.tookMs.toFixed(0)} ms`)
  await cluster.broker(nodeId).start()
  await cluster.settled(topic.name)
}

async function restart({ cluster }: PartContext, { topic, load, values, nodeId }: Scene): Promise<void> {
  const fromMs = performance.now()
  await cluster.broker(nodeId).stop()
  const stoppedMs = performance.now()
  await cluster.broker(nodeId).start()
  await cluster.settled(topic.name)
  await load.flowing()
  const span = { fromMs, toMs: performance.now() }
  const gaps = Array.from({ length: topic.partitions }, (_, each) => load.acks.longestGapMs(span, each))
  values.add('restart: longest time without, worst partition', Math.max(...gaps), LOWER_MS)
  values.add('restart: longest time without, all partitions together', load.acks.longestGapMs(span), LOWER_MS)
  values.add('restart: SIGTERM to the end of the process', stoppedMs - fromMs, LOWER_MS)
}
