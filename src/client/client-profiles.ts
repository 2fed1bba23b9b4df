/**
 * How the clients of a profile are tuned: what the profiles of the configuration do for the broker, done for the other end.
 * `connect(url, { profile })` takes them for producers and consumers that say nothing else, and so does `millrace bench`.
 *
 * Invariant  they tune speed, never safety: acks, idempotence and CRC checks stay as they are    checked in: test/unit/client/profiles.test.ts
 */
import type { ClientProfileName } from './client-options.ts'
import type { ConsumerOptions } from './consumer-options.ts'
import type { ProducerOptions } from './producer-options.ts'

export interface ClientProfile {
  readonly producer: ProducerOptions
  readonly consumer: ConsumerOptions
}

const KIB = 1024
const MIB = 1024 * KIB

export const CLIENT_PROFILES: Readonly<Record<ClientProfileName, ClientProfile>> = {
  balanced: { producer: {}, consumer: {} },
  throughput: {
    producer: { batchBytesMax: 512 * KIB, requestBytesMax: 2 * MIB },
    consumer: { fetchBytesMax: 2 * MIB, partitionBytesMax: 2 * MIB, prefetchBytesMax: 32 * MIB },
  },
  latency: { producer: { lingerMs: 0 }, consumer: { minBytes: 1 } },
}
