/** What is stored of a classic group besides its group record. */
export interface ClassicMetadata {
  readonly protocolType: string
  readonly leaderId: string | null
}

/** What is stored of a member of the generation: subscription and assignment are bytes that only members read. */
export interface ClassicMemberMetadata {
  readonly instanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly subscription: Uint8Array
  readonly assignment: Uint8Array
}
