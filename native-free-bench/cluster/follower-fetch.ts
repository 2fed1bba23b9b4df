/**
 * What it costs to feed a follower, against what it costs to feed a consumer the same bytes. Compared is the CPU of the same broker, the
 * one that leads: what it spends on serving (request, pages, socket), per MiB. What the follower's own broker spends is told beside it and is
 * not part of the ratio: it checks, writes and syncs the records as well, which no consumer does.
 *
 *   catching up  a partition of one replica is filled; its broker serves all of it to a consumer, and to a new replica of a move, in
 *                either order by turns
 *   at the tail  records come at a steady rate to a partition with one replica, the same with a consumer at its tail, the same with a
 *                second replica instead: the cost of serving is what the leader's broker needs more than for taking the records
 */
import { runConsume } from '../../src/cli/bench/consume-workload.ts'
import { runProduce } from '../../src/cli/bench/produce-workload.ts'
import { touch } from '../../src/cli/bench/record-pool.ts'
import { until } from '../../test/support/until.ts'
import type { Values } from '../harness/values.ts'
import { type ClusterTopic, NODES } from './bench-cluster.ts'
import { MIB, type Part, type PartContext, RECORD_BYTES, repeat } from './part.ts'

const CAUGHT_UP_MS_MAX = 120_000
const READ_MS_MAX = 120_000
const COST = { unit: 'ms/MiB', better: 'lower', digits: 2 } as const
const RATIO = { unit: '', better: 'lower', digits: 2 } as const

export const followerFetchPart: Part = {
  name: 'follower-fetch',
  profile: 'balanced',
  run: async (context) => {
    const { options } = context
    const runs = options.number('runs', 5, 1)
    const mib = options.number('mib', 512, 4)
    const ratePerSec = options.number('tail-rate', 20_000, 2_000)
    await repeat(context, runs, (values, run) => catchingUp(context, values, { mib, isFollowerFirst: run % 2 === 1 }))
    await repeat(context, runs, (values) => atTheTail(context, values, ratePerSec))
  },
}

async function catchingUp(
  context: PartContext,
  values: Values,
  { mib, isFollowerFirst }: { mib: number; isFollowerFirst: boolean },
): Promise<void> {
  const { cluster } = context
  await cluster.withTopic({ partitions: 1, replicas: 1 }, async (topic) => {
    const records = (mib * MIB) / RECORD_BYTES
    await runProduce(cluster.client, { topic: topic.name, api: 'enqueue', records, recordBytes: RECORD_BYTES })
    const [leader, follower] = placesOf(context, topic)
    const serve: Record<'consumer' | 'follower' | 'own', number> = { consumer: 0, follower: 0, own: 0 }
    const consume = async (): Promise<void> => {
      const { value, cpu } = await cluster.withCpu(() =>
        runConsume(cluster.client, { topic: topic.name, api: 'batches' }),
      )
      if (value.records !== records) throw new Error(`${value.records} of ${records} records were read`)
      serve.consumer = cpu.get(leader)!
    }
    const replicate = async (): Promise<void> => {
      const { cpu } = await cluster.withCpu(() => addReplica(context, topic, [leader, follower]))
      serve.follower = cpu.get(leader)!
      serve.own = cpu.get(follower)!
    }
    for (const step of isFollowerFirst ? [replicate, consume] : [consume, replicate]) await step()
    values.add('catching up: leader, a consumer', (serve.consumer / mib) * 1e3, COST)
    values.add('catching up: leader, a follower', (serve.follower / mib) * 1e3, COST)
    values.add('catching up: ratio', ratioOf(serve.follower, serve.consumer), RATIO)
    values.add("catching up: the follower's broker itself", (serve.own / mib) * 1e3, COST)
  })
}

async function atTheTail(context: PartContext, values: Values, ratePerSec: number): Promise<void> {
  const { options } = context
  const records = Math.round(ratePerSec * options.number('tail-seconds', 10, 0.3))
  const mib = (records * RECORD_BYTES) / MIB
  const alone = await withOneReplica(context, (topic) => produceAtRate(context, topic, { records, ratePerSec }))
  const consumed = await withOneReplica(context, async (topic) => {
    const reading = readTail(context, topic, records)
    const costs = await produceAtRate(context, topic, { records, ratePerSec })
    await reading
    return costs
  })
  const replicated = await withOneReplica(context, async (topic) => {
    await addReplica(context, topic, placesOf(context, topic))
    return produceAtRate(context, topic, { records, ratePerSec })
  })
  const consumer = consumed.leader - alone.leader
  const follower = replicated.leader - alone.leader
  values.add('at the tail: leader, taking the records', (alone.leader / mib) * 1e3, COST)
  values.add('at the tail: leader, a consumer', (consumer / mib) * 1e3, COST)
  values.add('at the tail: leader, a follower', (follower / mib) * 1e3, COST)
  values.add('at the tail: ratio', ratioOf(follower, consumer), RATIO)
  values.add("at the tail: the follower's broker itself", (replicated.follower / mib) * 1e3, COST)
}

function withOneReplica<T>({ cluster }: PartContext, body: (topic: ClusterTopic) => Promise<T>): Promise<T> {
  return cluster.withTopic({ partitions: 1, replicas: 1 }, body)
}

async function produceAtRate(
  context: PartContext,
  topic: ClusterTopic,
  { records, ratePerSec }: { records: number; ratePerSec: number },
): Promise<{ readonly leader: number; readonly follower: number }> {
  const { cluster } = context
  const [leader, follower] = placesOf(context, topic)
  const plan = { topic: topic.name, api: 'enqueue', records, recordBytes: RECORD_BYTES, ratePerSec } as const
  const { cpu } = await cluster.withCpu(() => runProduce(cluster.client, plan))
  return { leader: cpu.get(leader)!, follower: cpu.get(follower)! }
}

async function readTail({ cluster }: PartContext, { name }: ClusterTopic, records: number): Promise<void> {
  const signal = AbortSignal.timeout(READ_MS_MAX)
  let [left, checksum] = [records, 0]
  for await (const batch of cluster.client.consume(name, { from: 'start', signal }).batches()) {
    const cursor = batch.reader()
    for (; cursor.next(); left--) checksum += touch(cursor.key!, cursor.value!)
    if (left <= 0) break
  }
  if (left !== 0 || checksum === 0) throw new Error(`${records - left} records came, ${records} were sent`)
}

/** Where the partition is led, and another broker. */
function placesOf({ cluster }: PartContext, topic: ClusterTopic): readonly [number, number] {
  const leader = cluster.partitionsOf(topic.name)[0]!.leader
  return [leader, NODES.find((nodeId) => nodeId !== leader)!]
}

/** Resolves when the new one is in sync. */
async function addReplica(
  { cluster }: PartContext,
  { name: topic }: ClusterTopic,
  replicas: readonly number[],
): Promise<void> {
  await cluster.client.admin.cluster.reassign([{ topic, partition: 0, replicas }])
  await until('new replica in sync', CAUGHT_UP_MS_MAX, () => {
    const { inSyncReplicas, adding } = cluster.partitionsOf(topic)[0]!
    return inSyncReplicas.length === replicas.length && adding.length === 0
  })
}

/** 0 where the counter's steps of 10 ms hide both. */
function ratioOf(follower: number, consumer: number): number {
  return consumer <= 0 ? 0 : follower / consumer
}
