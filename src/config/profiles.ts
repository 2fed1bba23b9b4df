/**
 * Profiles tune speed, never safety: what each sets instead of the defaults, and why. `balanced` is the defaults.
 *
 * Invariant  a profile sets keys of PROFILE_KEYS and no others: none of them decides what is acknowledged, kept or let in
 *            checked in: test/unit/config/config.test.ts
 */
import type { ConfigPath } from './schema.ts'

export const PROFILE_NAMES = ['balanced', 'throughput', 'latency'] as const
export type ProfileName = (typeof PROFILE_NAMES)[number]

/** What a profile may set. */
export const PROFILE_KEYS: readonly ConfigPath[] = [
  'shard.wait',
  'shard.spin',
  'limits.receiveBytes',
  'limits.sendBytes',
  'limits.connectionSendBytes',
  'rings.requestBytes',
  'rings.replyBytes',
  'pages.bytes',
  'pages.poolBytes',
]

export interface ProfileSetting {
  readonly value: string | number | boolean
  /** One sentence, without its full stop. */
  readonly why: string
}

export interface Profile {
  /** For whom it is. */
  readonly purpose: string
  readonly sets: Partial<Readonly<Record<ConfigPath, ProfileSetting>>>
}

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  balanced: {
    purpose: 'the defaults: short latency and high throughput in about 80 MiB of rings and pages a shard',
    sets: {},
  },
  throughput: {
    purpose: 'many or large records, many readers: more memory for buffers, so that no side waits for another',
    sets: {
      'limits.sendBytes': {
        value: '256MiB',
        why: 'room for as many readers as before at four times the bytes each',
      },
      'limits.connectionSendBytes': { value: '4MiB', why: 'a fast reader gets a whole fetch without a pause' },
      'rings.requestBytes': { value: '32MiB', why: 'producers go on while the device syncs what came before' },
      'rings.replyBytes': { value: '4MiB', why: 'replies of many partitions leave in fewer turns' },
      'pages.poolBytes': { value: '256MiB', why: 'readers near the end are served from memory for longer' },
    },
  },
  latency: {
    purpose:
      'the shortest way from producer to consumer: idle threads look for work before they sleep, at the cost of cores',
    sets: {
      'shard.wait': {
        value: 'spin',
        why: 'no wake-up by the kernel in the way of a record; where no core is left over, threads sleep all the same',
      },
      'limits.connectionSendBytes': {
        value: '256KiB',
        why: 'a reader that falls behind does not fill the way of the newest records',
      },
    },
  },
}
