/** Why another replica leads although the one before lives: what a store says of the two cases of the controller's C13. */
import {
  type BrokerState,
  brokerKey,
  decodeState,
  NO_LEADER,
  type PartitionName,
  type PartitionState,
} from '../../src/coordination/keys.ts'
import type { StoredValue } from '../../src/coordination/metadata-store.ts'

export type GivenUpLead = 'resigned lead taken over' | 'full leader replaced'

/** Where an entry of the store can be looked up. */
export interface StoreContents {
  get(key: string): StoredValue | undefined
}

/** Of a partition whose leader is another one than before; undefined: for any other reason. */
export function givenUpLead(
  store: StoreContents,
  { topicId, partition }: PartitionName,
  before: PartitionState,
  next: PartitionState,
): GivenUpLead | undefined {
  const key = brokerKey(before.leader)
  const stored = before.leader === NO_LEADER ? undefined : store.get(key)
  if (stored === undefined || next.leader === NO_LEADER || next.leader === before.leader) return undefined
  const { incarnation, isStopping, isDiskLow, resigned = [] } = decodeState<BrokerState>(key, stored.value)
  if (incarnation !== before.leaderIncarnation || isStopping) return undefined
  const isInSync = next.inSyncReplicas.some(({ nodeId }) => nodeId === before.leader)
  const hasResigned = resigned.some(
    (lead) => lead.topicId === topicId && lead.partition === partition && lead.leaderEpoch === before.leaderEpoch,
  )
  if (hasResigned && !isInSync) return 'resigned lead taken over'
  return isDiskLow === true && isInSync ? 'full leader replaced' : undefined
}
