/**
 * How a benchmark's clients are tuned for a profile: what the profiles of the configuration do for the broker, done for the other
 * end. They tune speed, never safety: acks, idempotence and CRC checks stay on.
 */
import type { ConsumerOptions, ProducerOptions } from '../../client/index.ts'
import type { ProfileName } from '../../config/profiles.ts'

export interface ClientProfile {
  readonly producer: ProducerOptions
  readonly consumer: ConsumerOptions
}

const KIB = 1024
const MIB = 1024 * KIB

export const CLIENT_PROFILES: Readonly<Record<ProfileName, ClientProfile>> = {
  balanced: { producer: {}, consumer: {} },
  throughput: {
    producer: { batchBytesMax: 512 * KIB, requestBytesMax: 2 * MIB },
    consumer: { fetchBytesMax: 2 * MIB, partitionBytesMax: 2 * MIB, prefetchBytesMax: 32 * MIB },
  },
  latency: { producer: { lingerMs: 0 }, consumer: { minBytes: 1 } },
}
