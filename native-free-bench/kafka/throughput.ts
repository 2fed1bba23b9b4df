/**
 * Produce and consume at full speed: librdkafka, the native client and kafkajs against one broker, in turn, each with a topic of its own
 * that it reads again. What the broker spends for a million records of a Kafka client over what it spends for the native one's in the
 * same round is the ratio that counts; rates are also the clients' own.
 */
import { setTimeout } from 'node:timers/promises'
import { type BenchTarget, checkStored, tuningOf, withTopic } from '../../src/cli/bench/bench-target.ts'
import type { BrokerProcess } from '../../test/support/broker-process.ts'
import { MachineLoad } from '../cluster/machine-load.ts'
import { type BenchBrokerOptions, type Fsync, withBroker, withBrokerCpu } from '../harness/bench-broker.ts'
import { Values } from '../harness/values.ts'
import { type BenchClient, type ClientRun, kafkajsClient, librdkafkaClient, nativeClient } from './bench-clients.ts'
import type { KafkaPart, KafkaPartContext } from './kafka-part.ts'

const SMALL_BYTES = 100
const WARM_UP_RECORDS = 100_000
/** What `fsync: interval` leaves to be synced, and what deleting a topic costs, is over by then. */
const SETTLE_MS = 1_200
const RATE = { unit: 'k/s', better: 'higher', digits: 0 } as const
const CPU = { unit: 's/M', better: 'lower', digits: 2 } as const
const RATIO = { unit: '', better: 'lower', digits: 2 } as const

interface Scene {
  readonly partitions: number
  readonly recordBytes: number
  readonly records: number
}

/** Of one client in one round. */
interface Measured {
  readonly run: ClientRun
  readonly brokerCpuSeconds: number
}
type Round = { readonly [direction in 'produce' | 'consume']: Measured }

export const throughputPart: KafkaPart = {
  name: 'throughput',
  async run(context) {
    const { options } = context
    const sizes = options
      .text('size', options.smoke ? '100' : `1024,${SMALL_BYTES}`)
      .split(',')
      .map(Number)
    const counts = options
      .text('partitions', options.smoke ? '6' : '1,6')
      .split(',')
      .map(Number)
    for (const recordBytes of sizes)
      for (const partitions of counts) {
        const records = options.number('records', recordBytes <= SMALL_BYTES ? 2_000_000 : 500_000, 5_000)
        await measure(context, { partitions, recordBytes, records })
      }
  },
}

async function measure({ report, options, librdkafka }: KafkaPartContext, scene: Scene): Promise<void> {
  const profile = options.text('profile', 'throughput') as BenchBrokerOptions['profile']
  const fsync = options.text('fsync', 'interval') as Fsync
  const asked = options.text('clients', 'native,librdkafka,kafkajs').split(',')
  const runs = options.number('runs', 5, 1)
  const values = new Values()
  let clientSeconds = 0
  await withBroker({ profile, fsync, kafka: true }, async (target, broker) => {
    const clients = [
      nativeClient(target, await tuningOf(target, profile)),
      ...(librdkafka.kind === 'found' ? [librdkafkaClient(librdkafka, broker.kafka)] : []),
      kafkajsClient(broker),
    ].filter(({ name }) => asked.includes(name))
    if (!options.smoke)
      for (const client of clients)
        await oneRound(target, broker, client, { ...scene, records: Math.min(WARM_UP_RECORDS, scene.records) }, 0)
    const load = new MachineLoad({ ownCpu: () => broker.cpuSeconds() + clientSeconds })
    for (let run = 0; run < runs; run++)
      await load.during(async () => {
        const rounds = new Map<string, Round>()
        for (let turn = 0; turn < clients.length; turn++) {
          const client = clients[(turn + run) % clients.length]!
          const round = await oneRound(target, broker, client, scene, options.smoke ? 0 : SETTLE_MS)
          rounds.set(client.name, round)
          // The native client is this process, which the load counts by itself.
          if (client.name !== 'native') clientSeconds += round.produce.run.cpuSeconds + round.consume.run.cpuSeconds
        }
        gather(values, scene, rounds)
      })
    values.tell(report)
    report.note(load.text())
  })
}

function gather(values: Values, { recordBytes, partitions }: Scene, rounds: ReadonlyMap<string, Round>): void {
  for (const direction of ['produce', 'consume'] as const) {
    const scene = `${direction} ${recordBytes} B, ${partitions} partition${partitions === 1 ? '' : 's'}`
    const native = rounds.get('native')?.[direction]
    for (const [name, round] of rounds) {
      const { run } = round[direction]
      values.add(`${scene}: ${name}`, run.records / run.seconds / 1000, RATE)
      values.add(`${scene}: ${name}, broker CPU`, perMillion(round[direction]), CPU)
      values.add(`${scene}: ${name}, client CPU`, (run.cpuSeconds / run.records) * 1e6, CPU)
      if (native === undefined || name === 'native') continue
      const ratio = perMillion(round[direction]) / perMillion(native)
      // Small runs take less than a tick of the clock.
      if (Number.isFinite(ratio)) values.add(`${scene}: ${name} / native, broker CPU`, ratio, RATIO)
    }
  }
}

function perMillion({ run, brokerCpuSeconds }: Measured): number {
  return (brokerCpuSeconds / run.records) * 1e6
}

async function oneRound(
  target: BenchTarget,
  broker: BrokerProcess,
  client: BenchClient,
  { partitions, recordBytes, records: all }: Scene,
  settleMs: number,
): Promise<Round> {
  const records = Math.ceil(all * client.share)
  const round = await withTopic(target, client.name, partitions, async (topic) => {
    const load = { topic, records, recordBytes }
    const produced = await withBrokerCpu(broker, async () => {
      const run = await client.produce(load)
      await setTimeout(settleMs)
      return run
    })
    await checkStored(target, topic, records)
    const consumed = await withBrokerCpu(broker, () => client.consume(load))
    for (const field of ['records', 'checksum'] as const)
      if (produced.value[field] !== consumed.value[field])
        throw new Error(
          `${client.name}, ${field}: ${produced.value[field]} produced, ${consumed.value[field]} consumed`,
        )
    return {
      produce: { run: produced.value, brokerCpuSeconds: produced.cpuSeconds },
      consume: { run: consumed.value, brokerCpuSeconds: consumed.value.brokerCpuSeconds ?? consumed.cpuSeconds },
    }
  })
  await setTimeout(settleMs)
  return round
}
