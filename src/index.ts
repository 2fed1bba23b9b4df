/**
 * Package root: a broker in this process. Cheap to import: what a call needs is loaded by the call. The client alone is
 * `millrace/client`, configuration from files and flags `millrace/config`, tests with a clock of their own `millrace/testing`.
 */
import type { CreateBrokerOptions, InProcessBroker } from './in-process/create-broker.ts'
import type { RunningBroker, StartBrokerOptions } from './main.ts'

export type { BrokerConfig, ConfigInput } from './config/index.ts'
export type { CloseOptions, CreateBrokerOptions, InProcessBroker, ListenOptions } from './in-process/create-broker.ts'
export type { InProcessConfig } from './in-process/in-process-config.ts'
export type { RunningBroker, StartBrokerOptions } from './main.ts'
export { type ErrorCode, isMillraceError, MillraceError } from './model/errors.ts'

/** A broker for this process and its tests: in memory or over a directory, no socket unless listen() is called. */
export async function createBroker(options: CreateBrokerOptions): Promise<InProcessBroker> {
  const root = await import('./in-process/create-broker.ts')
  return root.createBroker(options)
}

/** What `millrace start` runs: threads, files, sockets, by a configuration of resolveConfig() (`millrace/config`). */
export async function startBroker(options: StartBrokerOptions): Promise<RunningBroker> {
  const root = await import('./main.ts')
  return root.startBroker(options)
}
