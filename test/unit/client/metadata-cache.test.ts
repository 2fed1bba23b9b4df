/** What is known of topics: requests that are shared, and whose fault is whose. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../../src/base/node/system-clock.ts'
import { MetadataCache } from '../../../src/client/metadata-cache.ts'
import { ERRORS } from '../../../src/model/errors.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import type { MetadataReply } from '../../../src/protocol/index.ts'
import { hasCode } from '../../support/expect.ts'

const FAULTS: Readonly<Record<string, { errorNumber: number; errorText: string }>> = {
  absent: { errorNumber: ERRORS.UNKNOWN_TOPIC_OR_PARTITION.number, errorText: '' },
  secret: { errorNumber: ERRORS.TOPIC_AUTHORIZATION_FAILED.number, errorText: 'not for you' },
}

function reply(names: readonly string[]): MetadataReply {
  return {
    clusterId: 'c',
    brokers: [],
    controllerId: 1,
    topics: names.map((name) => {
      const fault = FAULTS[name]
      const topicId = fault === undefined ? ('f'.repeat(32) as TopicId) : ''
      return { name, topicId, partitions: [], config: {}, drainFrom: -1, errorNumber: 0, errorText: '', ...fault }
    }),
  }
}

test('topics that share a request have each its own fault', async () => {
  const asked: (readonly string[])[] = []
  const cache = new MetadataCache(async ({ topics }) => {
    asked.push(topics!)
    return reply(topics!)
  }, systemClock)
  const outcomes = [cache.refresh('there'), cache.refresh('absent'), cache.refresh('secret'), cache.get('other')]
  await Promise.all([
    outcomes[0],
    assert.rejects(outcomes[1]!, hasCode('UNKNOWN_TOPIC_OR_PARTITION', /'absent'/)),
    assert.rejects(outcomes[2]!, hasCode('TOPIC_AUTHORIZATION_FAILED', /not for you/)),
    outcomes[3],
  ])
  assert.deepEqual(asked, [['there', 'absent', 'secret', 'other']])
  assert.equal(cache.peek('there')?.name, 'there')
  assert.equal(cache.peek('secret'), undefined)
})
