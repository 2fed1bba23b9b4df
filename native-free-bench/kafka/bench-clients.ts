/**
 * The clients that macro/kafka sets beside each other: each produces records by key to a topic with acks=all, and reads them again; the
 * native one in this process, the others in processes of their own. All take keys and values from a pool of random ones, touch every
 * record that comes and check its CRC.
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type BenchTarget, type BenchTopic, produceJobs, type Tuning } from '../../src/cli/bench/bench-target.ts'
import { runJobs } from '../../src/cli/bench/client-threads.ts'
import { consumeTopic } from '../../src/cli/bench/run-bench.ts'
import type { BrokerProcess } from '../../test/support/broker-process.ts'
import { type FoundLibrdkafka, runLibrdkafka } from './librdkafka.ts'

export interface ClientLoad {
  readonly topic: BenchTopic
  readonly records: number
  readonly recordBytes: number
}

export interface ClientRun {
  readonly records: number
  readonly seconds: number
  /** User and system, of the client. */
  readonly cpuSeconds: number
  /** Equal for what was produced and what was consumed. */
  readonly checksum: number
  /** Of the broker, where the client has more to do before and behind than what is measured. */
  readonly brokerCpuSeconds?: number
}

export interface BenchClient {
  readonly name: 'native' | 'librdkafka' | 'kafkajs'
  /** Of the records that the others get: a client that is slower by far shows its cost with fewer. */
  readonly share: number
  produce(load: ClientLoad): Promise<ClientRun>
  consume(load: ClientLoad): Promise<ClientRun>
}

export function nativeClient(target: BenchTarget, tuning: Tuning): BenchClient {
  const measured = async (
    work: () => Promise<{ records: number; seconds: number; checksum: number }>,
  ): Promise<ClientRun> => {
    const before = process.cpuUsage()
    const { records, seconds, checksum } = await work()
    const { user, system } = process.cpuUsage(before)
    return { records, seconds, checksum, cpuSeconds: (user + system) / 1e6 }
  }
  return {
    name: 'native',
    share: 1,
    produce: ({ topic, records, recordBytes }) => {
      const plan = { api: 'enqueue', records, recordBytes, ratePerSec: undefined, seconds: undefined } as const
      return measured(() => runJobs(produceJobs(topic, plan, tuning, 1), target))
    },
    consume: ({ topic }) =>
      measured(() => consumeTopic(target, topic, { api: 'batches', consumers: 1, seconds: undefined }, tuning)),
  }
}

export function librdkafkaClient(found: FoundLibrdkafka & { readonly kind: 'found' }, address: string): BenchClient {
  const run = (mode: 'produce' | 'consume', { topic, records, recordBytes }: ClientLoad) => {
    const { name, partitions } = topic
    return runLibrdkafka(found.program, { mode, address, topic: name, partitions, records, recordBytes })
  }
  return {
    name: 'librdkafka',
    share: 1,
    produce: (load) => run('produce', load),
    consume: (load) => run('consume', load),
  }
}

export interface KafkajsWork extends Omit<ClientLoad, 'topic'> {
  readonly mode: 'produce' | 'consume'
  readonly address: string
  readonly topic: string
  readonly brokerPid: number
}

export function kafkajsClient(broker: BrokerProcess): BenchClient {
  const { kafka: address, pid: brokerPid } = broker
  const program = fileURLToPath(new URL('kafkajs-client.js', import.meta.url))
  const run = (mode: KafkajsWork['mode'], { topic, records, recordBytes }: ClientLoad): Promise<ClientRun> =>
    new Promise((resolve, reject) => {
      const work: KafkajsWork = { mode, address, brokerPid, topic: topic.name, records, recordBytes }
      const child = fork(program, [JSON.stringify(work)])
      const killWithUs = (): void => void child.kill('SIGKILL')
      process.once('exit', killWithUs)
      let result: ClientRun | undefined
      child.once('message', (message) => (result = message as ClientRun))
      child.once('error', reject)
      child.once('exit', (code, signal) => {
        process.off('exit', killWithUs)
        if (code === 0 && result !== undefined) resolve(result)
        else reject(new Error(`the kafkajs client ended with ${code ?? signal}`))
      })
    })
  return {
    name: 'kafkajs',
    share: 1 / 4,
    produce: (load) => run('produce', load),
    consume: (load) => run('consume', load),
  }
}
