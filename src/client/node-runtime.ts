/** What the client takes from a Node process. */
import '../base/node/native-crc32c.ts'
import '../base/node/native-utf8.ts'
import { systemClock } from '../base/node/system-clock.ts'
import { systemPrng } from '../base/node/system-prng.ts'
import { startTimer } from '../base/node/system-timers.ts'
import { nodeCodecs } from '../record/node-codecs.ts'
import { nodeTransport } from '../transport/node-transport.ts'
import type { ClientRuntime } from './client-runtime.ts'
import { ThreadKeepAlive } from './node-keep-alive.ts'

export function nodeRuntime(): ClientRuntime {
  return {
    ...{ clock: systemClock, prng: systemPrng(), transport: nodeTransport, codecs: nodeCodecs(), startTimer },
    startKeepAlive: (target) => new ThreadKeepAlive(target),
  }
}
