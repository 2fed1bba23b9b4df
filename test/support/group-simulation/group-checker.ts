/** GroupChecker: what must hold after every event of a run. It reads the coordinator's state and the members' beliefs. */
import assert from 'node:assert/strict'
import { hexOf } from '../../../src/base/bytes.ts'
import type { Group } from '../../../src/group/group-state.ts'
import { decodeRecord, type EncodedRecord } from '../../../src/group/index.ts'
import { countPartitions, hasPartition, isSubset, type PartitionSet } from '../../../src/model/partition-set.ts'
import type { SimulatedCoordinator } from './simulated-coordinator.ts'
import { GROUP_ID, REBALANCE_TIMEOUT_MS, SESSION_TIMEOUT_MS, type SimulatedMember } from './simulated-member.ts'

/** How often partitions without an owner are looked for. */
const OWNED_EVERY_MS = 50
/** A revocation beyond the rebalance timeout: the timer's turn. */
const REVOKING_SLACK_MS = 100
/** Without an owner beyond the session timeout. */
const UNOWNED_SLACK_MS = 2_000

export class GroupChecker {
  /** Partition and epoch -> who owned it then. */
  readonly #ownerAt = new Map<string, string>()
  readonly #committed = new Map<string, number>()
  readonly #epochTold = new Map<string, number>()
  readonly #unownedSince = new Map<string, number>()
  /** Member id -> partitions that it has to give up, and when the last of them came. */
  #revoking = new Map<string, { set: PartitionSet; sinceMs: number }>()
  #groupEpoch = 0
  #troubleMs = 0
  #ownedCheckedMs = 0
  /** Member -> epoch and number of changes of what it reads, when its epoch's owners were last written down. */
  readonly #seen = new Map<SimulatedMember, string>()
  readonly #broker: SimulatedCoordinator
  readonly #members: readonly SimulatedMember[]

  constructor(broker: SimulatedCoordinator, members: readonly SimulatedMember[]) {
    this.#broker = broker
    this.#members = members
  }

  /** Something went wrong now: partitions may be without an owner for a session timeout from here. */
  trouble(nowMs: number): void {
    this.#troubleMs = nowMs
  }

  /** Another coordinator: rebalances begin anew with it. */
  restarted(nowMs: number): void {
    this.#revoking.clear()
    this.trouble(nowMs)
  }

  told(member: SimulatedMember, epoch: number): void {
    const { memberId } = member.plan
    const before = this.#epochTold.get(memberId) ?? 0
    assert.ok(epoch >= before, `epoch of ${memberId} fell from ${before} to ${epoch}`)
    this.#epochTold.set(memberId, epoch)
  }

  durable({ key, value }: EncodedRecord): void {
    const decoded = decodeRecord(key, value)
    assert.ok(decoded.kind === 'record')
    const { record } = decoded
    if (record.type === 'group' && record.value !== null) {
      assert.ok(record.value.groupEpoch >= this.#groupEpoch, `group epoch fell to ${record.value.groupEpoch}`)
      this.#groupEpoch = record.value.groupEpoch
    }
    if (record.type !== 'offset') return
    const name = hexOf(key)
    if (record.value === null) this.#committed.delete(name)
    else {
      const { offset } = record.value
      const before = this.#committed.get(name) ?? 0
      assert.ok(offset >= before, `offset of partition ${record.partition} went back from ${before} to ${offset}`)
      this.#committed.set(name, offset)
    }
  }

  check(nowMs: number): void {
    const group = this.#broker.coordinator?.state.groups.get(GROUP_ID)
    for (const member of this.#members) {
      if (member.isDead || member.reading.size === 0) continue
      this.#checkEpochOwners(member)
      if (group !== undefined) checkKnown(group, member)
    }
    if (
      this.#broker.coordinator === undefined ||
      this.#members.some((member) => !member.isDead && !member.isResponsive)
    )
      this.trouble(nowMs)
    this.#checkRevoking(group, nowMs)
    if (nowMs < this.#ownedCheckedMs + OWNED_EVERY_MS) return
    this.#ownedCheckedMs = nowMs
    this.#checkOwned(nowMs)
  }

  /** No partition has two owners at one member epoch. A static member is the same one under another id. */
  #checkEpochOwners(member: SimulatedMember): void {
    if (this.#seen.get(member) === `${member.epoch} ${member.changes}`) return
    this.#seen.set(member, `${member.epoch} ${member.changes}`)
    const who = member.plan.instanceId ?? member.plan.memberId
    for (const key of member.reading.keys()) {
      const at = `${key}@${member.epoch}`
      const other = this.#ownerAt.get(at)
      assert.ok(other === undefined || other === who, `at epoch ${member.epoch} ${key} belongs to ${other} and ${who}`)
      this.#ownerAt.set(at, who)
    }
  }

  /** Who does not give up what it must is fenced in time, whoever extends its session. A restart begins anew. */
  #checkRevoking(group: Group | undefined, nowMs: number): void {
    const before = this.#revoking
    this.#revoking = new Map()
    for (const { memberId, current } of group?.members.values() ?? []) {
      if (current.revoking.size === 0) continue
      const known = before.get(memberId)
      const sinceMs = known !== undefined && isSubset(current.revoking, known.set) ? known.sinceMs : nowMs
      this.#revoking.set(memberId, { set: current.revoking, sinceMs })
      const ms = nowMs - sinceMs
      assert.ok(
        ms <= REBALANCE_TIMEOUT_MS + REVOKING_SLACK_MS,
        `${memberId} has had partitions to give up for ${ms} ms`,
      )
    }
  }

  #checkOwned(nowMs: number): void {
    const joined = this.#members.filter((member) => member.isResponsive && member.epoch > 0)
    const read = new Set(joined.flatMap((member) => [...member.reading.keys()]))
    for (const { topicId, name, partitionCount } of this.#broker.directory.topics()) {
      const isWanted = joined.some(({ plan }) => subscribes(plan, name))
      for (let partition = 0; partition < partitionCount; partition++) {
        const key = `${topicId}-${partition}`
        if (!isWanted || read.has(key)) {
          this.#unownedSince.delete(key)
          continue
        }
        const sinceMs = this.#unownedSince.get(key) ?? nowMs
        this.#unownedSince.set(key, sinceMs)
        const unownedMs = nowMs - Math.max(sinceMs, this.#troubleMs)
        assert.ok(
          unownedMs <= SESSION_TIMEOUT_MS + UNOWNED_SLACK_MS,
          `${name} ${partition}: no owner for ${unownedMs} ms`,
        )
      }
    }
  }

  /** Nothing happened for long: all are where they should be. */
  checkEnd(): void {
    const coordinator = this.#broker.coordinator
    assert.ok(coordinator !== undefined)
    const living = this.#members.filter((member) => !member.isDead)
    const group = coordinator.state.groups.get(GROUP_ID)
    const { state } = coordinator.describeGroups([GROUP_ID])[0]!
    assert.equal(state, group === undefined ? 'Dead' : living.length === 0 ? 'Empty' : 'Stable')
    for (const member of living) {
      const known = group?.members.get(member.plan.memberId)
      assert.ok(known !== undefined, `${member.plan.memberId} is not known`)
      const target = [...known.target].flatMap(([topicId, list]) => list.map((partition) => `${topicId}-${partition}`))
      assert.deepEqual([...member.reading.keys()].sort(), target.sort(), `${member.plan.memberId} reads its target`)
    }
    let wanted = 0
    for (const { name, partitionCount } of this.#broker.directory.topics())
      if (living.some(({ plan }) => subscribes(plan, name))) wanted += partitionCount
    let given = 0
    for (const member of group?.members.values() ?? []) given += countPartitions(member.current.assigned)
    assert.equal(given, wanted, 'every partition with a subscriber has an owner')
  }
}

/** What a member reads that the coordinator knows, the coordinator counts as its own. */
function checkKnown(group: Group, member: SimulatedMember): void {
  const known = group.members.get(member.plan.memberId)
  if (known === undefined) return
  const { assigned, revoking } = known.current
  for (const { topicId, partition } of member.reading.values()) {
    const isOwn = hasPartition(assigned, topicId, partition) || hasPartition(revoking, topicId, partition)
    const owner = group.owners.get(topicId)?.get(partition)?.memberId ?? 'nobody'
    assert.ok(isOwn, `${member.plan.memberId} reads ${topicId}-${partition}, which belongs to ${owner}`)
  }
}

function subscribes(plan: SimulatedMember['plan'], topic: string): boolean {
  return plan.subscribedTopics.includes(topic) || (plan.subscribedPattern !== '' && topic.startsWith('p'))
}
