import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { envNameOf } from '../../../src/config/config.ts'
import * as config from '../../../src/config/index.ts'
import { repositoryRoot } from '../../support/repository.ts'

const { resolveConfig } = config
const flag = (path: string, value: unknown) => ({ path, value, source: `--set ${path}` })
const faultsOf = (input: config.ConfigInput): readonly string[] => {
  try {
    resolveConfig(input)
  } catch (error) {
    if (error instanceof config.ConfigError) return error.faults
    throw error
  }
  return []
}

test('config/*.yaml say what the schema says (else: node dist/src/config/write-files.js)', () => {
  const read = (name: string) => readFileSync(`${repositoryRoot}/config/${name}.yaml`, 'utf8')
  assert.equal(read('millrace'), config.renderDefaults())
  for (const name of config.PROFILE_NAMES) assert.equal(read(name), config.renderProfile(name))
})

test('the default file is the defaults', () => {
  const file = { name: 'millrace.yaml', text: config.renderDefaults() }
  const { entries, ...values } = resolveConfig({ file })
  const { entries: _, ...defaults } = resolveConfig()
  assert.deepEqual(values, defaults)
  assert.ok(entries.every((entry) => entry.source.startsWith('millrace.yaml:')))
})

test('flag over environment over file over profile over default, and each knows where it came from', () => {
  const file = {
    name: 'm.yaml',
    text: 'profile: throughput\nshards: 3\nstorage:\n  checkpoint: 7s\nnodeId: 5\nflush.ms: 50\n',
  }
  const env = { MILLRACE__NODE_ID: '6', MILLRACE_STORAGE__FSYNC: 'interval', MILLRACE_SERVER: 'ws://x' }
  const resolved = resolveConfig({ file, env, flags: [flag('nodeId', '7')] })
  assert.equal(resolved.profile, 'throughput')
  assert.deepEqual([resolved.nodeId, resolved.shards, resolved.storage.checkpointMs], [7, 3, 7_000])
  assert.equal(resolved.rings.requestBytes, 32 * 1024 * 1024)
  assert.deepEqual([resolved.topics.config.fsync, resolved.topics.config.flushMs], ['interval', 50])
  const source = (path: string) => resolved.entries.find((entry) => entry.path === path)!.source
  assert.equal(source('nodeId'), 'flag --set nodeId')
  assert.equal(source('storage.fsync'), 'env MILLRACE_STORAGE__FSYNC')
  assert.equal(source('storage.checkpoint'), 'm.yaml:4')
  assert.equal(source('rings.requestBytes'), 'profile throughput')
  assert.equal(source('dataDir'), 'default')
})

test('faults name source, line, key and the nearest known key; all of them at once', () => {
  const text = 'shards: 3\nstorage:\n  fsnyc: group\nnodeId: many\nlimits:\n  frameBytes: 1TB\n'
  assert.deepEqual(faultsOf({ file: { name: 'm.yaml', text } }), [
    "m.yaml:3: unknown key 'storage.fsnyc'; did you mean 'storage.fsync'?",
    "m.yaml:4: nodeId: expected an integer from 0 to 2147483647, not 'many'",
    "m.yaml:6: limits.frameBytes: expected a size from 64KiB to 8MiB such as 64KiB, 16MiB, not '1TB'",
  ])
  assert.match(faultsOf({ env: { MILLRACE_STORAGE__FSYNCC: 'x' } })[0]!, /env MILLRACE_STORAGE__FSYNCC.*storage\.fsync/)
  assert.match(
    faultsOf({ flags: [flag('qqqqqqqqqqqq', 1)] })[0]!,
    /^flag --set qqqqqqqqqqqq: unknown key 'qqqqqqqqqqqq'$/,
  )
  assert.match(faultsOf({ file: { name: 'm.yaml', text: 'a: [\n' } })[0]!, /^m\.yaml:\d+: /)
  assert.match(faultsOf({ file: { name: 'm.yaml', text: 'shards: 1\nshards: 2\n' } })[0]!, /^m\.yaml:2: .*unique/)
  assert.match(faultsOf({ profile: 'fast' })[0]!, /profile: one of balanced, throughput, latency, not 'fast'/)
  assert.match(faultsOf({ flags: [flag('rings.requestBytes', '3MiB')] })[0]!, /rings\.requestBytes/)
  assert.match(faultsOf({ flags: [flag('topics.config.retention.mss', '1')] })[0]!, /topics\.config.*retention\.mss/)
})

test('an address that others can reach needs tokens or a word', () => {
  assert.match(faultsOf({ flags: [flag('listen', '0.0.0.0:7171')] })[0]!, /auth\.tokens.*--insecure/)
  assert.deepEqual(faultsOf({ flags: [flag('listen', '0.0.0.0:7171'), flag('insecure', true)] }), [])
  assert.deepEqual(faultsOf({ flags: [flag('listen', '[::]:7171'), flag('auth.tokens', 'sixteen-characters')] }), [])
  for (const host of ['127.0.0.1', 'localhost', '[::1]', '127.1.2.3'])
    assert.deepEqual(faultsOf({ flags: [flag('listen', `${host}:0`)] }), [])
  assert.match(faultsOf({ flags: [flag('auth.tokens', 'short')] })[0]!, /auth\.tokens/)
  assert.match(faultsOf({ flags: [flag('kafka', '127.0.0.1:9092')] })[0]!, /kafka: this version has no/)
  assert.match(faultsOf({ flags: [flag('etcd', 'http://127.0.0.1:2379')] })[0]!, /etcd: this version has no/)
  assert.match(faultsOf({ flags: [flag('listen', '127.0.0.1:99999')] })[0]!, /port/)
})

test('topic defaults: a map in the file, single keys by flag', () => {
  const file = { name: 'm.yaml', text: 'topics:\n  config:\n    retention.ms: 1000\n' }
  const resolved = resolveConfig({ file, flags: [flag('topics.config.segment.ms', '5000')] })
  assert.deepEqual([resolved.topics.config.retentionMs, resolved.topics.config.segmentMs], [1000, 5000])
})

test('secrets are never shown', () => {
  const resolved = resolveConfig({ flags: [flag('auth.tokens', 'sixteen-characters')] })
  assert.ok(!JSON.stringify(config.describeConfig(resolved)).includes('sixteen'))
})

test('every key has an environment name of its own, and one-word keys too', () => {
  const names = config.CONFIG_PATHS.map(envNameOf)
  assert.equal(new Set(names).size, names.length)
  assert.ok(names.every((name) => name.includes('__')))
  assert.equal(envNameOf('topics.autoCreate'), 'MILLRACE_TOPICS__AUTO_CREATE')
})

test('durations and sizes', () => {
  const { parseDuration, parseSize, formatDuration, formatSize } = config
  assert.deepEqual(
    ['50ms', '5s', '1.5s', '2m', '14d', '0'].map(parseDuration),
    [50, 5000, 1500, 120_000, 1_209_600_000, 0],
  )
  assert.deepEqual(['64KiB', '1MiB', '10', '1kB', '0.5MiB'].map(parseSize), [65_536, 1_048_576, 10, 1000, 524_288])
  for (const bad of ['', '5', '5x', '-5s', '1.0005ms', 's', '1e3s']) assert.equal(parseDuration(bad), undefined, bad)
  for (const bad of ['', 'MiB', '-1', '1TiB', '0.3']) assert.equal(parseSize(bad), undefined, bad)
  for (const ms of [0, 1, 999, 1000, 60_000, 90_000, 86_400_000]) assert.equal(parseDuration(formatDuration(ms)), ms)
  for (const bytes of [0, 1, 1024, 1536, 1 << 20]) assert.equal(parseSize(formatSize(bytes)), bytes)
})
