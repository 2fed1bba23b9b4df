/** What runs of the cluster got to, counted; a simulation in which no leader ever changes proves nothing about changes of leaders. */

export const CLUSTER_EVENTS = [
  ...([
    'kill',
    'power cut',
    'power cut of all nodes',
    'death within an operation',
    'clean restart',
    'stopped',
  ] as const),
  ...(['network cut', 'one-way cut', 'clients cut off', 'slow network', 'connections reset', 'clock jump'] as const),
  ...([
    'store unreachable',
    'unknown store outcome',
    'lease ended',
    'lease lost',
    'store compacted',
    'slow store',
  ] as const),
  ...(['slow disk', 'disk full', 'fsync failure', 'short write', 'shard failed', 'start failed'] as const),
  ...(['leader change', 'leader change mid-transaction', 'controller change', 'in-sync set shrunk'] as const),
  ...([
    'lead resigned',
    'resigned lead taken over',
    'full leader replaced',
    'in-sync set grown',
    'truncated',
    'begun anew',
    'torn tail cut',
    'dedup across failover',
  ] as const),
  ...(['batch retried', 'records acknowledged', 'records polled', 'send in doubt', 'consumer restarted'] as const),
  ...(['transaction committed', 'transaction aborted', 'transaction in doubt', 'shadow recovery'] as const),
  ...(['topic created', 'topic deleted', 'partitions added', 'five brokers'] as const),
  ...(['member of the pipeline begun', 'result made'] as const),
] as const
/** What a run of power cuts gets to. */
export const POWER_EVENTS = [
  ...(['power cut of all nodes', 'power cut in recovery', 'death within an operation', 'torn tail cut'] as const),
  ...(['leader change', 'leader change mid-transaction', 'controller change', 'in-sync set grown'] as const),
  ...(['truncated', 'dedup across failover', 'batch retried', 'records acknowledged', 'records polled'] as const),
  ...(['transaction committed', 'transaction aborted', 'transaction in doubt', 'shadow recovery'] as const),
] as const
/** What a run of damage gets to. */
export const DAMAGE_EVENTS = [
  ...(['bit flipped', 'segment cut', 'index cut', 'folder lost', 'disk lost'] as const),
  ...(['found by a start', 'found by verify alone', 'repaired', 'repair killed', 'replica set aside'] as const),
  ...(['kill', 'power cut', 'clean restart', 'leader change', 'in-sync set shrunk', 'in-sync set grown'] as const),
  ...(['records acknowledged', 'records polled', 'transaction committed', 'transaction aborted'] as const),
] as const
/** The last two are the workload's, and do not come about here. */
export type ClusterEvent =
  | (typeof CLUSTER_EVENTS)[number]
  | (typeof POWER_EVENTS)[number]
  | (typeof DAMAGE_EVENTS)[number]
  | ('offset out of range' | 'trim')
