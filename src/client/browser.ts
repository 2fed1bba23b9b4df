/** `millrace/client` for browsers: the same interface over the platform's WebSocket. */
import { browserRuntime } from './browser-runtime.ts'
import { Client } from './client.ts'
import type { ClientOptions } from './client-options.ts'

export * from './api.ts'

/** Connects to a cluster: one URL, several, or a comma-separated list; `host:port` stands for `ws://host:port`. */
export function connect(urls: string | readonly string[], options: ClientOptions = {}): Promise<Client> {
  return Client.connect(browserRuntime(), urls, options)
}
