/** LocalClients: the clients of an in-process broker: made over its engine, ended with it. */
import '../base/node/lazy-native-crc32c.ts'
import '../base/node/native-utf8.ts'
import type { Prng } from '../base/prng.ts'
import { Client } from '../client/client.ts'
import type { ClientOptions } from '../client/client-options.ts'
import type { ClientRuntime } from '../client/client-runtime.ts'
import { nodeCodecs } from '../record/node-codecs.ts'
import { LOCAL_URL, type LocalEngine } from './local-engine.ts'
import type { TimeSource } from './time-source.ts'

/** Real time, whatever the broker's clock is: a broker that cannot take what a client has must not keep it from closing. */
const CLIENT_DRAIN_MS_MAX = 5_000

export interface LocalClientsOptions {
  readonly time: TimeSource
  readonly prng: Prng
  readonly engine: LocalEngine
  /** Sent where the client's options name none: whoever has the broker in hand may use it. */
  readonly token: string | undefined
}

export class LocalClients {
  readonly #runtime: ClientRuntime
  readonly #token: string | undefined
  readonly #clients = new Set<Client>()

  constructor(options: LocalClientsOptions) {
    const { time, prng, engine, token } = options
    const startTimer = (delayMs: number, task: () => void) => time.startTimer(delayMs, task)
    this.#runtime = { clock: time, prng, transport: engine.transport, codecs: nodeCodecs(), startTimer }
    this.#token = token
  }

  create(options: ClientOptions): Client {
    for (const client of this.#clients) if (client.isClosed) this.#clients.delete(client)
    const token = options.token ?? this.#token
    const client = Client.create(this.#runtime, LOCAL_URL, {
      ...{ clientName: 'in-process', ...options },
      ...(token === undefined ? {} : { token }),
    })
    this.#clients.add(client)
    return client
  }

  /** Closes all, then does `stop`, in any case; `impatience` ends the draining before its time. Rejects with the first failure. */
  async closeBefore(stop: () => Promise<void>, impatience?: AbortSignal): Promise<void> {
    const timeout = AbortSignal.timeout(CLIENT_DRAIN_MS_MAX)
    const signal = impatience === undefined ? timeout : AbortSignal.any([timeout, impatience])
    const closed = await Promise.allSettled([...this.#clients].map((client) => client.close({ signal })))
    this.#clients.clear()
    await stop()
    for (const result of closed) if (result.status === 'rejected') throw result.reason
  }
}
