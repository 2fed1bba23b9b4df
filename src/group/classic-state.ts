/**
 * ClassicGroup: a group whose members assign for themselves (JoinGroup and SyncGroup), as it is now: the generation in the making, and
 * who waits for it. What a new coordinator must know of it is in the group's records (classic-records.ts); the rest ends with this one.
 *
 * Thread      the shard; pure
 * Invariants  C1 generationId >= groupEpoch of the group record, and equals it while Stable or Empty      checked in: checkClassic()
 *             C2 Empty = no members; CompletingRebalance and Stable have a leader and a protocol that all can do
 *             C3 joins are parked in PreparingRebalance alone, syncs in CompletingRebalance alone
 *             C4 awaitingJoin, awaitedSyncs, protocolCounts and bytes are what the members add up to
 * Limits      classic-room.ts
 */
import { assert } from '../base/assert.ts'
import type { Timed } from '../base/deadline-heap.ts'
import { utf8Bytes } from '../base/utf8-write.ts'

export type ClassicStateName = 'Empty' | 'PreparingRebalance' | 'CompletingRebalance' | 'Stable'

/** What a member can do, and what it says to the leader with it. */
export interface ClassicProtocol {
  readonly name: string
  readonly metadata: Uint8Array
}

export const NO_BYTES: Uint8Array = new Uint8Array(0)

/** Nothing is parked. */
export const NO_TOKEN = 0

export interface ClassicSessionTimer extends Timed {
  readonly kind: 'session'
  readonly groupId: string
  readonly member: ClassicMember
}

/** Of an id that was given and not joined with. */
export interface PendingTimer extends Timed {
  readonly kind: 'pending'
  readonly groupId: string
  readonly memberId: string
}

/** The join phase must end, the initial wait for more members ends, or members must have asked for their assignments. */
export interface PhaseTimer extends Timed {
  readonly kind: 'initial' | 'join' | 'sync'
  readonly groupId: string
}

export type ClassicTimer = ClassicSessionTimer | PendingTimer | PhaseTimer

export interface ClassicMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  sessionTimeoutMs: number
  rebalanceTimeoutMs: number
  protocols: readonly ClassicProtocol[]
  assignment: Uint8Array
  /** Its first JoinGroup has no answer yet. */
  isNew: boolean
  /** The generation is made and it has not asked for its assignment. */
  isPendingSync: boolean
  /** The JoinGroup and the SyncGroup that wait; NO_TOKEN. */
  joinToken: number
  syncToken: number
  sessionDeadlineMs: number
  sessionTimer: ClassicSessionTimer | undefined
}

export interface ClassicGroup {
  state: ClassicStateName
  generationId: number
  protocolType: string
  /** Of this generation; null while there is none. */
  protocolName: string | null
  leaderId: string | null
  readonly members: Map<string, ClassicMember>
  /** Instance id -> member id. */
  readonly instances: Map<string, string>
  /** Ids that were given and not joined with. */
  readonly pending: Map<string, PendingTimer>
  /** Protocol -> members that can do it. */
  readonly protocolCounts: Map<string, number>
  /** Members whose JoinGroup waits. */
  awaitingJoin: number
  /** Members that have not asked for their assignment of this generation. */
  awaitedSyncs: number
  /** Ids, names and metadata of all members. */
  bytes: number
  /** Topics that members of this generation read; 'unknown' where what they say is not to be read. Means something by subscribedNow() alone. */
  subscribed: ReadonlySet<string> | 'unknown'
  phase: PhaseTimer | undefined
  /** While a group begins: a member came since the wait was prolonged, and by how much it may be in all. */
  hasNewMember: boolean
  initialLeftMs: number
}

export function newClassicGroup(generationId: number): ClassicGroup {
  return {
    state: 'Empty',
    generationId,
    protocolType: '',
    protocolName: null,
    leaderId: null,
    members: new Map(),
    instances: new Map(),
    pending: new Map(),
    protocolCounts: new Map(),
    awaitingJoin: 0,
    awaitedSyncs: 0,
    bytes: 0,
    subscribed: 'unknown',
    phase: undefined,
    hasNewMember: false,
    initialLeftMs: 0,
  }
}

/** Of one member, or of one that would be. */
export function bytesOf(
  member: Pick<ClassicMember, 'memberId' | 'instanceId' | 'clientId' | 'clientHost' | 'protocols'>,
): number {
  const { memberId, instanceId, clientId, clientHost, protocols } = member
  let bytes = utf8Bytes(memberId) + utf8Bytes(instanceId ?? '') + utf8Bytes(clientId) + utf8Bytes(clientHost)
  for (const { name, metadata } of protocols) bytes += utf8Bytes(name) + metadata.length
  return bytes
}

export function addMember(classic: ClassicGroup, member: ClassicMember): void {
  const { memberId, instanceId } = member
  assert(!classic.members.has(memberId), `member ${memberId} is there`)
  classic.members.set(memberId, member)
  if (instanceId !== null) classic.instances.set(instanceId, memberId)
  classic.leaderId ??= memberId
  classic.bytes += bytesOf(member)
  if (member.joinToken !== NO_TOKEN) classic.awaitingJoin++
  countProtocols(classic, member, 1)
}

/** The next in line leads where it did. */
export function removeMember(classic: ClassicGroup, member: ClassicMember): void {
  const { memberId, instanceId } = member
  assert(member.joinToken === NO_TOKEN && member.syncToken === NO_TOKEN, `C3: ${memberId} goes and is not answered`)
  classic.members.delete(memberId)
  if (instanceId !== null && classic.instances.get(instanceId) === memberId) classic.instances.delete(instanceId)
  if (classic.leaderId === memberId) classic.leaderId = classic.members.keys().next().value ?? null
  classic.bytes -= bytesOf(member)
  countProtocols(classic, member, -1)
  setPendingSync(classic, member, false)
}

export function setPendingSync(classic: ClassicGroup, member: ClassicMember, isPendingSync: boolean): void {
  if (member.isPendingSync === isPendingSync) return
  member.isPendingSync = isPendingSync
  classic.awaitedSyncs += isPendingSync ? 1 : -1
}

/** What it says of itself now. */
export function setProtocols(
  classic: ClassicGroup,
  member: ClassicMember,
  protocols: readonly ClassicProtocol[],
): void {
  classic.bytes -= bytesOf(member)
  countProtocols(classic, member, -1)
  member.protocols = protocols
  countProtocols(classic, member, 1)
  classic.bytes += bytesOf(member)
}

function countProtocols({ protocolCounts }: ClassicGroup, { protocols }: ClassicMember, by: 1 | -1): void {
  for (const name of new Set(protocols.map((protocol) => protocol.name))) {
    const count = (protocolCounts.get(name) ?? 0) + by
    if (count === 0) protocolCounts.delete(name)
    else protocolCounts.set(name, count)
  }
}

/** Whether a member of these protocols may be in the group: some protocol all members can do. */
export function supports(
  { state, protocolType, members, protocolCounts }: ClassicGroup,
  wanted: { readonly protocolType: string; readonly protocols: readonly ClassicProtocol[] },
): boolean {
  if (state === 'Empty') return wanted.protocolType !== '' && wanted.protocols.length > 0
  if (wanted.protocolType !== protocolType) return false
  return wanted.protocols.some(({ name }) => protocolCounts.get(name) === members.size)
}

/** Each member votes for the first of its protocols that all can do; the one with most votes, of several the one voted for first. */
export function selectProtocol({ members, protocolCounts }: ClassicGroup): string {
  const votes = new Map<string, number>()
  for (const { memberId, protocols } of members.values()) {
    const vote = protocols.find(({ name }) => protocolCounts.get(name) === members.size)
    assert(vote !== undefined, `C2: ${memberId} can do nothing that all can`)
    votes.set(vote.name, (votes.get(vote.name) ?? 0) + 1)
  }
  let [chosen, most] = ['', 0]
  for (const [name, count] of votes) if (count > most) [chosen, most] = [name, count]
  return chosen
}

export function metadataOf({ protocols }: ClassicMember, protocolName: string | null): Uint8Array {
  return protocols.find(({ name }) => name === protocolName)?.metadata ?? NO_BYTES
}

/** The very same protocols, in the same order, with the same bytes. */
export function sameProtocols(left: readonly ClassicProtocol[], right: readonly ClassicProtocol[]): boolean {
  return (
    left.length === right.length &&
    left.every(
      ({ name, metadata }, index) => name === right[index]!.name && sameBytes(metadata, right[index]!.metadata),
    )
  )
}

export function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false
  for (let index = 0; index < left.length; index++) if (left[index] !== right[index]) return false
  return true
}

/** How long members may take to join again: as long as the slowest asked for. */
export function rebalanceTimeoutOf({ members }: ClassicGroup): number {
  let timeoutMs = 0
  for (const { rebalanceTimeoutMs } of members.values()) timeoutMs = Math.max(timeoutMs, rebalanceTimeoutMs)
  return timeoutMs
}

/** For tests and simulations: looks at every member. */
export function checkClassic(group: {
  readonly groupId: string
  readonly groupEpoch: number
  readonly classic: ClassicGroup | undefined
}): void {
  const { groupId, groupEpoch, classic } = group
  if (classic === undefined) return
  const { state, members, generationId, protocolCounts, leaderId, protocolName } = classic
  const isStored = state === 'Stable' || state === 'Empty'
  assert(
    isStored ? generationId === groupEpoch : generationId >= groupEpoch,
    `C1: ${groupId}: generation ${generationId} of a ${state} group stored at ${groupEpoch}`,
  )
  assert((state === 'Empty') === (members.size === 0), `C2: ${groupId}: ${state} with ${members.size} members`)
  if (state === 'CompletingRebalance' || state === 'Stable') {
    assert(leaderId !== null && members.has(leaderId), `C2: ${groupId}: its leader ${leaderId} is no member`)
    assert(protocolCounts.get(protocolName ?? '') === members.size, `C2: ${groupId}: not all can do ${protocolName}`)
  }
  let [joins, syncs, bytes] = [0, 0, 0]
  for (const member of members.values()) {
    assert(member.joinToken === NO_TOKEN || state === 'PreparingRebalance', `C3: ${groupId}: a join waits in ${state}`)
    assert(member.syncToken === NO_TOKEN || state === 'CompletingRebalance', `C3: ${groupId}: a sync waits in ${state}`)
    if (member.joinToken !== NO_TOKEN) joins++
    if (member.isPendingSync) syncs++
    bytes += bytesOf(member)
  }
  assert(joins === classic.awaitingJoin, `C4: ${groupId}: ${joins} joins wait, ${classic.awaitingJoin} are counted`)
  assert(syncs === classic.awaitedSyncs, `C4: ${groupId}: ${syncs} syncs are due, ${classic.awaitedSyncs} are counted`)
  assert(bytes === classic.bytes, `C4: ${groupId}: ${bytes} bytes, ${classic.bytes} are counted`)
}
