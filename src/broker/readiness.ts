/**
 * What a broker still waits for before it serves: the reasons of /readyz, in words. Pure.
 *
 * A broker of a cluster becomes ready by itself: it waits for no other broker, or the first one of a cluster that starts would never be.
 */

export interface ReadinessFacts {
  /** What the broker knows of itself: recovering, a disk nearly full, stopping. */
  readonly notReady: Iterable<string>
  readonly shards: readonly { readonly shard: number; readonly state: string; readonly reason: string | null }[]
  /** Alone: why the metadata store does not answer. A cluster's is known by the lease, without asking it each time. */
  readonly storeFault?: string | undefined
  readonly cluster?:
    | {
        /** Under a lease that cannot be over yet. */
        readonly isRegistered: boolean
        readonly controllerNodeId: number | undefined
      }
    | undefined
}

/** Empty = ready. */
export function readinessFaults({ notReady, shards, storeFault, cluster }: ReadinessFacts): string[] {
  const faults = [...notReady]
  if (storeFault !== undefined) faults.push(`metadata store: ${storeFault}`)
  if (cluster !== undefined && !cluster.isRegistered)
    faults.push('not registered in the cluster: etcd does not answer, or has not yet')
  if (cluster !== undefined && cluster.controllerNodeId === undefined) faults.push('no controller is known')
  for (const { shard, state, reason } of shards)
    if (state !== 'serving') faults.push(`shard ${shard} is ${state}${reason ? `: ${reason}` : ''}`)
  return faults
}
