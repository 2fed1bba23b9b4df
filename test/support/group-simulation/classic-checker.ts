/** ClassicChecker: what must hold of a classic group after every event, and at the end of a run. */
import assert from 'node:assert/strict'
import { checkClassic } from '../../../src/group/classic-state.ts'
import { decodeRecord } from '../../../src/group/group-records.ts'
import type { EncodedRecord, JoinGroupReply } from '../../../src/group/index.ts'
import { type ClassicMember, GROUP_ID, PARTITIONS } from './classic-member.ts'
import type { SimulatedCoordinator } from './simulated-coordinator.ts'

export class ClassicChecker {
  readonly #broker: SimulatedCoordinator
  /** Generation -> partition -> who was told that it may read it: its instance, or its id. */
  readonly #owners = new Map<number, Map<number, string>>()
  readonly #committed = new Map<number, number>()
  /** Ids that an instance had before it was told of a new one. */
  readonly #fenced = new Map<string, string>()
  readonly #idOfInstance = new Map<string, string>()
  #storedEpoch = 0
  /** The latest generation of which somebody was told his part. */
  #latestTold = 0

  constructor(broker: SimulatedCoordinator) {
    this.#broker = broker
  }

  joined({ plan: { instanceId } }: ClassicMember, { memberId, generationId }: JoinGroupReply): void {
    assert.ok(generationId >= this.#latestTold, `told to join generation ${generationId} after ${this.#latestTold}`)
    if (instanceId === null) return
    const before = this.#idOfInstance.get(instanceId)
    if (before !== undefined && before !== memberId) this.#fenced.set(before, memberId)
    this.#idOfInstance.set(instanceId, memberId)
  }

  /** At most one owner of a partition in a generation, however often and by which coordinator it was told. */
  assigned(
    { plan }: ClassicMember,
    { memberId, generationId }: { readonly memberId: string; readonly generationId: number },
    partitions: readonly number[],
  ): void {
    assert.ok(generationId >= this.#latestTold, `told of generation ${generationId} after ${this.#latestTold}`)
    this.#latestTold = generationId
    let owners = this.#owners.get(generationId)
    if (owners === undefined) this.#owners.set(generationId, (owners = new Map()))
    const who = plan.instanceId ?? memberId
    for (const partition of partitions) {
      const owner: string = owners.get(partition) ?? who
      assert.equal(owner, who, `generation ${generationId}: partition ${partition} is ${owner}'s and ${who}'s`)
      owners.set(partition, who)
    }
  }

  /** Nobody commits under a generation once a later one has its assignment, nor under an id that its instance gave up. */
  commitDecided({ memberId, generationId }: { readonly memberId: string; readonly generationId: number }): void {
    assert.ok(generationId >= this.#latestTold, `a commit of generation ${generationId} after ${this.#latestTold}`)
    assert.equal(this.#fenced.get(memberId), undefined, `a commit of ${memberId}, which its instance gave up`)
  }

  /** Generations and committed offsets only grow. */
  durable({ key, value }: EncodedRecord): void {
    const decoded = decodeRecord(key, value)
    assert.equal(decoded.kind, 'record')
    if (decoded.kind !== 'record') return
    const { record } = decoded
    if (record.type === 'group' && record.value !== null) {
      const { groupEpoch } = record.value
      assert.ok(groupEpoch >= this.#storedEpoch, `generation ${groupEpoch} is stored after ${this.#storedEpoch}`)
      this.#storedEpoch = groupEpoch
    }
    if (record.type !== 'offset' || record.value === null) return
    const before = this.#committed.get(record.partition) ?? 0
    const { offset } = record.value
    assert.ok(offset >= before, `partition ${record.partition}: ${offset} is committed after ${before}`)
    this.#committed.set(record.partition, offset)
  }

  check(): void {
    const { coordinator } = this.#broker
    if (coordinator === undefined) return
    for (const group of coordinator.state.groups.values()) checkClassic(group)
    this.#broker.checkKept()
  }

  /** In quiet a group becomes Stable, of those who live, and all is read by somebody. */
  checkEnd(living: readonly ClassicMember[]): void {
    const group = this.#broker.coordinator?.state.groups.get(GROUP_ID)
    if (living.length === 0) {
      assert.equal(group?.classic?.state ?? 'Empty', 'Empty', 'nobody is left')
      return
    }
    assert.ok(group?.classic !== undefined, 'there is no classic group')
    const { state, members, generationId, pending } = group.classic
    assert.equal(state, 'Stable', 'in quiet')
    assert.equal(pending.size, 0, 'ids that were given and not joined with')
    assert.deepEqual(
      [...members.keys()].sort(),
      living.map(({ memberId }) => memberId).sort(),
      'members are those who live',
    )
    const read: number[] = []
    for (const member of living) {
      assert.ok(member.isStable && member.generationId === generationId, `${member.plan.name} is not in the generation`)
      read.push(...member.positions.keys())
    }
    const all = Array.from({ length: PARTITIONS }, (_, partition) => partition)
    assert.deepEqual(
      read.sort((left, right) => left - right),
      all,
      'each partition is read once',
    )
  }
}
