/** Many changes of in-sync sets at a time: how many transactions they take, and what becomes of each. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InSyncBatches, type InSyncChange } from '../../../../src/broker/cluster/in-sync-batches.ts'
import {
  decodePartitionState,
  encodeState,
  type PartitionState,
  partitionKey,
} from '../../../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../../../src/coordination/memory-metadata-store.ts'
import { type MetadataStore, STORE_OPERATIONS_MAX } from '../../../../src/coordination/metadata-store.ts'
import { partitionOf, TOPIC, textOf } from '../../../support/cluster-fixture.ts'
import { ManualTimers } from '../../../support/manual-timers.ts'

class Stage {
  readonly store = new MemoryMetadataStore(new ManualTimers().clock)
  /** Partitions in each transaction. */
  readonly sizes: number[] = []
  /** Answers of the next transactions get lost, after they took effect. */
  losing = 0
  readonly batches = new InSyncBatches(this.#counting())

  #counting(): MetadataStore {
    const counting: MemoryMetadataStore = Object.create(this.store)
    counting.get = (key) => this.store.get(key)
    counting.transact = async (conditions, operations) => {
      this.sizes.push(operations.length)
      const result = await this.store.transact(conditions, operations)
      if (this.losing > 0) {
        this.losing--
        throw new Error('no answer')
      }
      return result
    }
    return counting
  }

  async put(partition: number, inSync: string): Promise<number> {
    const value = encodeState(partitionOf({ inSync }))
    return (await this.store.transact([], [{ kind: 'put', key: partitionKey(TOPIC, partition), value }])).revision
  }

  async changes(count: number): Promise<InSyncChange[]> {
    const changes: InSyncChange[] = []
    for (let partition = 0; partition < count; partition++) {
      const version = await this.put(partition, '1 2 3')
      changes.push({ topicId: TOPIC, partition, version, next: partitionOf({ inSync: '1 2' }) })
    }
    return changes
  }

  async stored(partition: number): Promise<string> {
    const key = partitionKey(TOPIC, partition)
    const state: PartitionState = decodePartitionState(key, (await this.store.get(key))!.value)
    return textOf(state.inSyncReplicas)
  }
}

test('what is asked for at the same time takes as few transactions as the store allows', async () => {
  const stage = new Stage()
  const changes = await stage.changes(STORE_OPERATIONS_MAX * 2 + 1)
  const outcomes = await Promise.all(changes.map((change) => stage.batches.apply(change)))
  assert.deepEqual(stage.sizes, [STORE_OPERATIONS_MAX, STORE_OPERATIONS_MAX, 1])
  assert.ok(outcomes.every(({ applied }) => applied))
  for (const { partition } of changes) assert.equal(await stage.stored(partition), '1 2')
})

test('one that was overtaken is told so, and the others are written', async () => {
  const stage = new Stage()
  const changes = await stage.changes(3)
  await stage.put(1, '1 3')
  const outcomes = await Promise.all(changes.map((change) => stage.batches.apply(change)))
  assert.deepEqual(
    outcomes.map(({ applied }) => applied),
    [true, false, true],
  )
  assert.deepEqual([await stage.stored(0), await stage.stored(1), await stage.stored(2)], ['1 2', '1 3', '1 2'])
})

test('an answer that got lost rejects each of them; asked for again, each is found to be in force', async () => {
  const stage = new Stage()
  const changes = await stage.changes(3)
  stage.losing = 1
  const lost = await Promise.allSettled(changes.map((change) => stage.batches.apply(change)))
  assert.ok(lost.every(({ status }) => status === 'rejected'))
  const outcomes = await Promise.all(changes.map((change) => stage.batches.apply(change)))
  assert.ok(outcomes.every(({ applied }) => applied))
})

test('two changes of one partition are never in one transaction', async () => {
  const stage = new Stage()
  const [change] = await stage.changes(1)
  const other = { ...change!, next: partitionOf({ inSync: '1 3' }) }
  const outcomes = await Promise.all([stage.batches.apply(change!), stage.batches.apply(other)])
  assert.deepEqual(
    outcomes.map(({ applied }) => applied),
    [true, false],
  )
  assert.deepEqual(stage.sizes, [1, 1])
})
