/** What the client takes from a browser. It brings no codecs: a page that reads compressed batches hands its own in. */
import { browserClock, browserPrng, startTimer } from '../base/browser/system.ts'
import { type Codecs, NO_CODECS } from '../record/compression.ts'
import { browserTransport } from '../transport/browser-transport.ts'
import type { ClientRuntime } from './client-runtime.ts'

export function browserRuntime(codecs: Codecs = NO_CODECS): ClientRuntime {
  return { clock: browserClock, prng: browserPrng(), transport: browserTransport(), codecs, startTimer }
}
