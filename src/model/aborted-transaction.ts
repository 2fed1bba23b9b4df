/** An aborted transaction as a fetch tells of it. */

/** Batches of this producer at or past firstOffset, up to its next ABORT marker, are not to be delivered. */
export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
}

export const NO_ABORTED: readonly AbortedTransaction[] = []
