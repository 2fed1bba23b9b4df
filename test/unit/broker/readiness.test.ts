import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ReadinessFacts, readinessFaults } from '../../../src/broker/readiness.ts'

const READY: ReadinessFacts = {
  notReady: [],
  shards: [{ shard: 0, state: 'serving', reason: null }],
  cluster: { isRegistered: true, controllerNodeId: 2 },
}

test('a broker of a cluster is ready when it is registered, knows a controller and serves', () => {
  assert.deepEqual(readinessFaults(READY), [])
  assert.deepEqual(readinessFaults({ ...READY, cluster: undefined }), [])
})

test('each reason is told', () => {
  const faultsOf = (facts: Partial<ReadinessFacts>): string[] => readinessFaults({ ...READY, ...facts })
  assert.deepEqual(faultsOf({ notReady: ['recovering'] }), ['recovering'])
  assert.deepEqual(faultsOf({ notReady: ['shard 0: disk nearly full'] }), ['shard 0: disk nearly full'])
  assert.deepEqual(faultsOf({ storeFault: 'closed' }), ['metadata store: closed'])
  assert.match(faultsOf({ cluster: { isRegistered: false, controllerNodeId: 2 } }).join(), /^not registered/)
  assert.deepEqual(faultsOf({ cluster: { isRegistered: true, controllerNodeId: undefined } }), [
    'no controller is known',
  ])
  assert.deepEqual(faultsOf({ shards: [{ shard: 3, state: 'failed', reason: 'EIO' }] }), ['shard 3 is failed: EIO'])
})

test('they come together', () => {
  const facts = { ...READY, notReady: ['recovering'], cluster: { isRegistered: false, controllerNodeId: undefined } }
  assert.equal(readinessFaults(facts).length, 3)
})
