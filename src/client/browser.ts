/** `millrace/client` for browsers: the same interface over the platform's WebSocket. */

import type { Codecs } from '../record/compression.ts'
import { browserRuntime } from './browser-runtime.ts'
import { Client, type ConnectTarget } from './client.ts'
import type { ClientOptions } from './client-options.ts'

export type { Codec, Codecs } from '../record/compression.ts'
export * from './api.ts'

export interface BrowserClientOptions extends ClientOptions {
  /** For `compression` and to read compressed batches; they answer at once, as the browser's own streams do not. Default: none. */
  readonly codecs?: Codecs
}

/**
 * Connects to a cluster: one URL, several, or a comma-separated list; `host:port` stands for `ws://host:port`. Or to a broker in this
 * process, over memory.
 */
export function connect(to: ConnectTarget, options: BrowserClientOptions = {}): Promise<Client> {
  return Client.connect(browserRuntime(options.codecs), to, options)
}
