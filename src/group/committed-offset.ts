/** How far a group has handled a partition. */
export interface CommittedOffset {
  readonly offset: number
  /** -1 = unknown. */
  readonly leaderEpoch: number
  readonly metadata: string
  readonly commitTimestampMs: number
}
