import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseTopicConfig, TOPIC_CONFIG_DEFAULTS } from '../../../src/model/topic-config.ts'
import { hasCode } from '../../support/expect.ts'

test('the keys of compaction, their bounds and defaults', () => {
  const { cleanupPolicy, deleteRetentionMs, minCleanableDirtyRatio, minCompactionLagMs, maxCompactionLagMs } =
    TOPIC_CONFIG_DEFAULTS
  assert.deepEqual(
    [cleanupPolicy, deleteRetentionMs, minCleanableDirtyRatio, minCompactionLagMs, maxCompactionLagMs],
    ['delete', 86_400_000, 0.5, 0, Number.MAX_SAFE_INTEGER],
  )
  const config = parseTopicConfig({
    'cleanup.policy': 'compact',
    'min.cleanable.dirty.ratio': '0.25',
    'min.compaction.lag.ms': '5',
    'max.compaction.lag.ms': '5',
    'delete.retention.ms': '0',
  })
  assert.deepEqual(
    [config.cleanupPolicy, config.minCleanableDirtyRatio, config.minCompactionLagMs, config.maxCompactionLagMs],
    ['compact', 0.25, 5, 5],
  )
  assert.equal(config.deleteRetentionMs, 0)
  for (const policy of ['compact,delete', 'delete,compact'])
    assert.equal(parseTopicConfig({ 'cleanup.policy': policy }).cleanupPolicy, 'compact,delete')
  for (const [key, text] of [
    ['cleanup.policy', 'compacted'],
    ['min.cleanable.dirty.ratio', '1.1'],
    ['min.compaction.lag.ms', '-1'],
    ['max.compaction.lag.ms', '0'],
    ['delete.retention.ms', '-1'],
  ] as const)
    assert.throws(() => parseTopicConfig({ [key]: text }), hasCode('INVALID_CONFIG'), `${key} ${text}`)
})

test('a lag that must pass is not longer than the one that may', () => {
  const lags = { 'min.compaction.lag.ms': '6', 'max.compaction.lag.ms': '5' }
  assert.throws(() => parseTopicConfig(lags), hasCode('INVALID_CONFIG', /more than max.compaction.lag.ms/))
})

test('no bound, as clients write it for Kafka', () => {
  const forever = {
    'max.compaction.lag.ms': '9223372036854775807',
    'message.timestamp.after.max.ms': '9223372036854775807',
  }
  const config = parseTopicConfig(forever)
  assert.deepEqual(
    [config.maxCompactionLagMs, config.timestampAfterMaxMs],
    [Number.MAX_SAFE_INTEGER, TOPIC_CONFIG_DEFAULTS.timestampAfterMaxMs],
  )
  assert.equal(parseTopicConfig({ 'message.timestamp.after.max.ms': '3600000' }).timestampAfterMaxMs, 3_600_000)
  for (const text of ['-1', '1e3', '92233720368547758070'])
    assert.throws(() => parseTopicConfig({ 'message.timestamp.after.max.ms': text }), hasCode('INVALID_CONFIG'), text)
  assert.throws(() => parseTopicConfig({ 'segment.bytes': '9223372036854775807' }), hasCode('INVALID_CONFIG'))
})
