/** What is taken for a stored state is whole: whoever decides from it finds all that it uses, as what it must be. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Encode } from '../../../src/base/bytes.ts'
import { isDamaged, liveReplica, standingOf } from '../../../src/coordination/controller/membership.ts'
import { decodeBrokerState } from '../../../src/coordination/stored-states.ts'
import type { Incarnation } from '../../../src/model/ids.ts'
import { TOPIC } from '../../support/cluster-fixture.ts'

const KEY = '/millrace/v1/brokers/1'
const PARTITION = { topicId: TOPIC, partition: 0 }
const BROKER = { incarnation: 2, url: 'ws://x' }

function decoded(change: object) {
  return decodeBrokerState(KEY, utf8Encode(JSON.stringify({ ...BROKER, ...change })))
}

test('a registration without lists has nothing damaged, failed or resigned', () => {
  const broker = decoded({})
  assert.deepEqual(broker.damaged, [])
  assert.equal(isDamaged(broker, PARTITION), false)
  const incarnation = 2 as Incarnation
  assert.deepEqual(liveReplica(1, broker, PARTITION), { nodeId: 1, incarnation })
  const members = { brokers: new Map([[1, { state: broker, modRevision: 1 }]]), nodes: new Map() }
  const earlier = { nodeId: 1, incarnation: 1 as Incarnation }
  assert.equal(standingOf(earlier, { ...PARTITION, members, fsync: 'group' }).kind, 'live')
})

test('lists of a registration are taken as they are when their entries name partitions', () => {
  const lists = { damaged: [PARTITION], failed: [PARTITION], resigned: [{ ...PARTITION, leaderEpoch: 3 }] }
  assert.deepEqual(decoded({ ...lists, ofAnotherRelease: 1 }), { ...BROKER, ...lists, ofAnotherRelease: 1 })
})

const WRONG: readonly object[] = [
  { incarnation: '2' },
  { url: 7 },
  ...['damaged', 'failed', 'resigned'].flatMap((field) =>
    [null, 'all', {}, [null], ['x'], [{}], [{ topicId: TOPIC }], [{ topicId: 1, partition: 0 }]].map((value) => ({
      [field]: value,
    })),
  ),
  { resigned: [PARTITION] },
]

for (const change of WRONG)
  test(`not readable: a registration with ${JSON.stringify(change)}`, () => {
    const [field] = Object.keys(change)
    assert.throws(() => decoded(change), new RegExp(`value of ${KEY} is not readable: ${field}`))
  })
