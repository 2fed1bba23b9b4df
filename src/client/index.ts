/** `millrace/client` for Node. */
import { Client, type ConnectTarget } from './client.ts'
import type { ClientOptions } from './client-options.ts'
import { nodeRuntime } from './node-runtime.ts'

export * from './api.ts'

/**
 * Connects to a cluster: one URL, several, or a comma-separated list; `host:port` stands for `ws://host:port`. Or to a broker in this
 * process, over memory.
 */
export function connect(to: ConnectTarget, options: ClientOptions = {}): Promise<Client> {
  return Client.connect(nodeRuntime(), to, options)
}
