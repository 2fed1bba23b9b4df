/** Profiles tune speed, never safety: what each sets instead of the defaults. `balanced` is the defaults. */
import type { ConfigPath } from './schema.ts'

export const PROFILE_NAMES = ['balanced', 'throughput', 'latency'] as const
export type ProfileName = (typeof PROFILE_NAMES)[number]

export const PROFILES: Readonly<Record<ProfileName, Partial<Readonly<Record<ConfigPath, string | number | boolean>>>>> =
  {
    balanced: {},
    throughput: {
      'rings.requestBytes': '32MiB',
      'rings.replyBytes': '4MiB',
      'pages.poolBytes': '256MiB',
      'limits.connectionSendBytes': '4MiB',
    },
    latency: {
      'shard.wait': 'spin',
      'limits.connectionSendBytes': '256KiB',
    },
  }
