/** What the client takes from a browser: no codecs yet, so compressed batches cannot be read there. */
import { browserClock, browserPrng, startTimer } from '../base/browser/system.ts'
import { NO_CODECS } from '../record/compression.ts'
import { browserTransport } from '../transport/browser-transport.ts'
import type { ClientRuntime } from './client-runtime.ts'

export function browserRuntime(): ClientRuntime {
  return { clock: browserClock, prng: browserPrng(), transport: browserTransport(), codecs: NO_CODECS, startTimer }
}
