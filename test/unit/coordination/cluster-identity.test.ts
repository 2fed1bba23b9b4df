/** Starts of a broker in a cluster: incarnations, data dirs, and two brokers of one node id. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  beginIncarnation,
  type IncarnationOptions,
  nextNodeState,
  registerBroker,
} from '../../../src/coordination/cluster-identity.ts'
import { type BrokerState, brokerKey, decodeState } from '../../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../../src/coordination/memory-metadata-store.ts'
import type { Incarnation } from '../../../src/model/ids.ts'
import { brokerOf } from '../../support/cluster-fixture.ts'
import { settled, VirtualTime } from '../../support/virtual-timers.ts'

const time = new VirtualTime()

function options(directoryId: string, isClean: boolean, timers = time): IncarnationOptions {
  const cluster = { directoryId, isClean, timers, registrationWaitMs: 6_000 }
  return { nodeId: 1, newId: () => 'c'.repeat(32), cluster }
}

test('starts: what every earlier incarnation held is told by two numbers', () => {
  const starts: [directoryId: string, isClean: boolean, directorySince: number, cleanSince: number][] = [
    ['a', false, 1, 1],
    ['a', true, 1, 1],
    ['a', false, 1, 3],
    ['a', true, 1, 3],
    ['b', true, 5, 5],
    ['a', true, 6, 6],
  ]
  let state = undefined as ReturnType<typeof nextNodeState> | undefined
  for (const [index, [directoryId, isClean, directorySince, cleanSince]] of starts.entries()) {
    state = nextNodeState(state, options(directoryId, isClean))
    assert.deepEqual(state, { incarnation: index + 1, directoryId, directorySince, cleanSince })
  }
  assert.equal(nextNodeState({ ...state!, isDecommissioned: true }, options('a', true)).isDecommissioned, true)
  assert.deepEqual(nextNodeState(undefined, { nodeId: 1, newId: () => '', atLeast: 7 as Incarnation }), {
    incarnation: 7,
  })
})

test('a start waits for the last registration; a broker that lives refuses it by name', async () => {
  const store = new MemoryMetadataStore(time)
  const first = await beginIncarnation(store, options('a', true))
  const lease = await store.lease(6_000)
  await registerBroker(store, lease, 1, brokerOf(1, { incarnation: first.incarnation }))
  const refused = assert.rejects(beginIncarnation(store, options('a', true)), {
    code: 'DUPLICATE_BROKER_REGISTRATION',
    message: /node id 1 lives at ws:\/\/1/,
  })
  await time.pass(10_000)
  await refused
  const starting = beginIncarnation(store, options('a', true))
  await time.pass(1_000)
  await store.revokeLease(lease.leaseId)
  await time.pass(1_000)
  assert.equal((await starting).incarnation, 2)
})

test('only the newest start registers; the same one may again, under another lease', async () => {
  const store = new MemoryMetadataStore(time)
  await beginIncarnation(store, options('a', true))
  await beginIncarnation(store, options('a', true))
  const lease = await store.lease(6_000)
  const state = (incarnation: number) => brokerOf(1, { incarnation })
  await assert.rejects(registerBroker(store, lease, 1, state(1)), { code: 'STALE_BROKER_EPOCH' })
  await registerBroker(store, lease, 1, state(2))
  const other = await store.lease(6_000)
  await registerBroker(store, other, 1, { ...state(2), isStopping: true })
  await lease.revoke()
  await settled()
  const stored = decodeState<BrokerState>('', (await store.get(brokerKey(1)))!.value)
  assert.deepEqual([stored.leaseId, stored.isStopping], [other.leaseId, true])
})
