/**
 * A broker process of a bench's own, with a client connected to it: the target that the workloads of src/cli/bench take.
 * `--cpu-prof DIR` of every bench: its threads write V8 CPU profiles there. `--engine uws|ws`: the WebSocket engine.
 */
import './end-together.ts'
import type { BenchTarget } from '../../src/cli/bench/bench-target.ts'
import { connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../../test/support/broker-process.ts'
import { benchOptions } from './options.ts'

export type Fsync = 'group' | 'interval'

export interface BenchBrokerOptions {
  readonly profile: 'balanced' | 'throughput' | 'latency'
  readonly fsync: Fsync
  /** Further flags of `millrace start`. */
  readonly args?: readonly string[]
  /** Listen for Kafka clients too: `broker.kafka`. */
  readonly kafka?: boolean
}

export async function withBroker<T>(
  options: BenchBrokerOptions,
  body: (target: BenchTarget, broker: BrokerProcess) => Promise<T>,
): Promise<T> {
  const { profile, fsync, args = [], kafka = false } = options
  const profileFolder = benchOptions().text('cpu-prof', '')
  const engine = `listeners.ws.engine=${benchOptions().text('engine', 'auto')}`
  const nodeArgs = profileFolder === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`]
  const dataDir = makeDataDir()
  const remove = (): void => removeDataDir(dataDir)
  process.once('exit', remove)
  try {
    const settings = ['--profile', profile, '--set', `storage.fsync=${fsync}`, '--set', engine, ...args]
    const broker = await BrokerProcess.start({ dataDir, args: settings, nodeArgs, kafka })
    try {
      const client = await connect(broker.url)
      const result = await body({ client, url: broker.url }, broker)
      await client.close()
      return result
    } finally {
      await broker.stop()
    }
  } finally {
    process.off('exit', remove)
    remove()
  }
}

/** What `body` returns, and the CPU seconds of the broker meanwhile. */
export async function withBrokerCpu<T>(
  broker: BrokerProcess,
  body: () => Promise<T>,
): Promise<{ readonly value: T; readonly cpuSeconds: number }> {
  const before = broker.cpuSeconds()
  const value = await body()
  return { value, cpuSeconds: broker.cpuSeconds() - before }
}
