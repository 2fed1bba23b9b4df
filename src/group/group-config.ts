/** GroupConfig: what a broker's owner may set of groups; the defaults are Kafka's but for the heartbeat, see README. */
import { GROUP_MEMBERS_MAX } from '../model/limits.ts'

export interface GroupConfig {
  /** How often a member is asked to send a heartbeat, at most: a third of its session if that is less. */
  readonly heartbeatIntervalMs: number
  /** The same while it waits for a partition or is to give one up. */
  readonly waitingHeartbeatIntervalMs: number
  readonly sessionTimeoutMs: number
  readonly sessionTimeoutMsMin: number
  readonly sessionTimeoutMsMax: number
  readonly rebalanceTimeoutMs: number
  readonly rebalanceTimeoutMsMin: number
  readonly rebalanceTimeoutMsMax: number
  /** At most GROUP_MEMBERS_MAX. */
  readonly membersMax: number
  /** Committed offsets are kept for so long after the group became empty, or after the commit if that is later. */
  readonly offsetsRetentionMs: number
  /** Period of the look for expired offsets. */
  readonly offsetsSweepMs: number
  /** A classic group that begins waits so long for more members, and again when one came; at most their rebalance timeout in all. */
  readonly initialRebalanceDelayMs: number
  readonly classicSessionTimeoutMsMin: number
  readonly classicSessionTimeoutMsMax: number
  /** A classic member's first join waits no longer: its client asks again. */
  readonly newMemberJoinTimeoutMs: number
}

const DAY_MS = 86_400_000

export const DEFAULT_GROUP_CONFIG: GroupConfig = {
  heartbeatIntervalMs: 3_000,
  waitingHeartbeatIntervalMs: 250,
  sessionTimeoutMs: 45_000,
  sessionTimeoutMsMin: 1_000,
  sessionTimeoutMsMax: 1_800_000,
  rebalanceTimeoutMs: 300_000,
  rebalanceTimeoutMsMin: 0,
  rebalanceTimeoutMsMax: 3_600_000,
  membersMax: GROUP_MEMBERS_MAX,
  offsetsRetentionMs: 7 * DAY_MS,
  offsetsSweepMs: 600_000,
  initialRebalanceDelayMs: 3_000,
  classicSessionTimeoutMsMin: 6_000,
  classicSessionTimeoutMsMax: 1_800_000,
  newMemberJoinTimeoutMs: 300_000,
}
