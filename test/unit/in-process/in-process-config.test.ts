/** The configuration of an in-process broker. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resolveConfig } from '../../../src/config/index.ts'
import {
  doorConfig,
  IN_PROCESS_DEFAULTS,
  IN_PROCESS_SETTINGS,
  inProcessConfig,
} from '../../../src/in-process/in-process-config.ts'
import { hasCode } from '../../support/expect.ts'

test('the defaults are what the schema makes of them', () => {
  const flags = Object.entries(IN_PROCESS_SETTINGS).map(([path, value]) => ({ path, value, source: 'test' }))
  assert.deepEqual({ ...resolveConfig({ flags }), entries: [] }, IN_PROCESS_DEFAULTS)
})

test('settings are those of the file, by their dotted paths', async () => {
  const config = await inProcessConfig({
    'storage.fsync': 'interval',
    'topics.autoCreate': true,
    'rings.requestBytes': '8MiB',
    'topics.config.retention.ms': 1000,
    profile: 'throughput',
  })
  assert.equal(config.storage.fsync, 'interval')
  assert.equal(config.topics.autoCreate, true)
  assert.equal(config.rings.requestBytes, 8 * 1024 * 1024)
  assert.equal(config.topics.config.retentionMs, 1000)
  assert.equal(config.profile, 'throughput')
  assert.equal((await inProcessConfig({})).listen.port, 0)
})

test('what is wrong is said, with what was meant', async () => {
  await assert.rejects(
    inProcessConfig({ 'storage.fsnyc': 'group' } as never),
    hasCode('INVALID_CONFIG', /storage\.fsnyc.*did you mean 'storage\.fsync'/),
  )
  await assert.rejects(inProcessConfig({ dataDir: './x' } as never), hasCode('INVALID_CONFIG', /storage: \{ dir/))
  await assert.rejects(inProcessConfig({ shards: 3 } as never), hasCode('INVALID_CONFIG', /option shards/))
  await assert.rejects(inProcessConfig({ listen: '127.0.0.1:1' } as never), hasCode('INVALID_CONFIG', /listen\(/))
})

test('a door that others can reach needs tokens, or that somebody says so', async () => {
  await assert.rejects(doorConfig({}, { listen: '0.0.0.0:0' }), hasCode('INVALID_CONFIG', /auth\.tokens/))
  assert.equal((await doorConfig({ insecure: true }, { listen: '0.0.0.0:0' })).listen.host, '0.0.0.0')
  const guarded = await doorConfig({ 'auth.tokens': 'sixteen-characters' }, { listen: '0.0.0.0:7' })
  assert.deepEqual(guarded.listen, { host: '0.0.0.0', port: 7 })
  assert.deepEqual((await doorConfig({}, {})).listen, { host: '127.0.0.1', port: 0 })
})
