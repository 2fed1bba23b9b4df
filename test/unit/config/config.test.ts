import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'yaml'
import { z } from 'zod'
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

const read = (name: string) => readFileSync(`${repositoryRoot}/config/${name}`, 'utf8')

test('the files of config/ say what the schema says (else: npm run generate)', () => {
  assert.equal(read('millrace.yaml'), config.renderDefaults())
  assert.equal(read('millrace.schema.json'), config.renderJsonSchema())
  for (const name of config.PROFILE_NAMES) assert.equal(read(`${name}.yaml`), config.renderProfile(name))
  for (const nodeId of config.CLUSTER_NODES)
    assert.equal(read(`cluster-3/node-${nodeId}.yaml`), config.renderClusterNode(nodeId))
})

test('config/cluster-3: three brokers of one cluster that differ in what must differ, and set nothing else', () => {
  const files = config.CLUSTER_NODES.map((nodeId) => {
    const name = `cluster-3/node-${nodeId}.yaml`
    return resolveConfig({ file: { name, text: read(name) } })
  })
  assert.deepEqual(
    files.map(({ nodeId }) => nodeId),
    [1, 2, 3],
  )
  assert.equal(new Set(files.map(({ listen }) => listen.port)).size, 3)
  assert.equal(new Set(files.map(({ kafka }) => kafka.listen?.port)).size, 3)
  assert.equal(new Set(files.map(({ dataDir }) => dataDir)).size, 3)
  const [first, ...others] = files.map(({ entries }) =>
    entries
      .filter(({ path }) => !['nodeId', 'listen', 'kafka', 'dataDir'].includes(path))
      .map(({ path, value }) => [path, value]),
  )
  for (const other of others) assert.deepEqual(other, first)
  assert.deepEqual(first?.find(([path]) => path === 'etcd')?.[1], ['http://127.0.0.1:2379'])
})

test('the file of a profile is what the profile alone sets', () => {
  for (const name of config.PROFILE_NAMES) {
    const valuesOf = (resolved: config.BrokerConfig) => resolved.entries.map(({ path, value }) => [path, value])
    const file = { name: `${name}.yaml`, text: read(`${name}.yaml`) }
    assert.deepEqual(valuesOf(resolveConfig({ file })), valuesOf(resolveConfig({ profile: name })))
  }
})

test('a profile tunes speed: it sets nothing that decides what is acknowledged, kept or let in', () => {
  for (const { sets } of Object.values(config.PROFILES))
    for (const path of Object.keys(sets)) assert.ok(config.PROFILE_KEYS.includes(path as config.ConfigPath), path)
  for (const path of config.PROFILE_KEYS) assert.doesNotMatch(path, /^(storage|flush|topics|auth|listen|insecure)/)
})

test('an editor that has the JSON Schema takes what a broker takes, and refuses unknown keys', () => {
  const schema = z.fromJSONSchema(config.configJsonSchema() as Parameters<typeof z.fromJSONSchema>[0])
  const takes = (text: string): boolean => schema.safeParse(parse(text)).success
  const nodes = config.CLUSTER_NODES.map((nodeId) => `cluster-3/node-${nodeId}`)
  for (const name of ['millrace', ...config.PROFILE_NAMES, ...nodes]) assert.ok(takes(read(`${name}.yaml`)), name)
  for (const text of ['shards: 3', 'storage.fsync: interval', 'topics: { config: { retention.ms: 5 } }', 'kafka: off'])
    assert.ok(takes(text), text)
  for (const text of ['shards: x', 'storag: {}', 'storage: { fsnc: group }', 'storage: { checkpoint: 5 seconds }'])
    assert.ok(!takes(text) && faultsOf({ file: { name: 'm.yaml', text } }).length > 0, text)
  assert.ok(!takes('topics: { config: { retention.mss: 5 } }'))
})

test('config show prints a file that makes the same configuration', () => {
  const flags = [flag('storage.fsync', 'interval'), flag('topics.config.retention.ms', '5'), flag('etcd', '')]
  const shown = resolveConfig({ profile: 'latency', flags: [...flags, flag('dataDir', 'C: # data')] })
  const again = resolveConfig({ file: { name: 'shown.yaml', text: config.renderConfig(shown) } })
  const { entries: _, profileSource: __, ...values } = again
  const { entries: ___, profileSource: ____, ...expected } = shown
  assert.deepEqual(values, expected)
})

test('the default file is the defaults', () => {
  const file = { name: 'millrace.yaml', text: config.renderDefaults() }
  const { entries, profileSource: _, ...values } = resolveConfig({ file })
  const { entries: __, profileSource: ___, ...defaults } = resolveConfig()
  assert.deepEqual(values, defaults)
  assert.ok(entries.every((entry) => entry.source.startsWith('millrace.yaml:')))
})

test('what clients are told to connect to is a URL', () => {
  const advertised = (value: string) => resolveConfig({ flags: [flag('listeners.advertised', value)] }).advertisedUrl
  assert.equal(advertised('ws://broker.example:7171'), 'ws://broker.example:7171')
  assert.equal(advertised(''), '')
  assert.throws(
    () => advertised('broker.example:7171'),
    /listeners\.advertised: expected a URL such as ws:\/\/broker\.example:7171/,
  )
  for (const wrong of ['ws://broker.example:99999', 'ws://[::1:7171', 'ws://broker.example#a'])
    assert.throws(() => advertised(wrong), /listeners\.advertised: expected a URL that can be connected to/)
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
  assert.match(
    faultsOf({ env: { MILLRACE_STORAGE__FSYNCC: 'x' } })[0]!,
    /^MILLRACE_STORAGE__FSYNCC: unknown key .*did you mean 'MILLRACE_STORAGE__FSYNC'/,
  )
  assert.match(
    faultsOf({ flags: [flag('qqqqqqqqqqqq', 1)] })[0]!,
    /^--set qqqqqqqqqqqq: unknown key 'qqqqqqqqqqqq'; millrace config show prints all keys$/,
  )
  assert.match(faultsOf({ file: { name: 'm.yaml', text: 'a: [\n' } })[0]!, /^m\.yaml:\d+: /)
  assert.match(faultsOf({ file: { name: 'm.yaml', text: 'shards: 1\nshards: 2\n' } })[0]!, /^m\.yaml:2: .*unique/)
  assert.match(
    faultsOf({ profile: 'fast' })[0]!,
    /^--profile: expected one of balanced, throughput, latency, not 'fast'/,
  )
  assert.match(faultsOf({ flags: [flag('rings.requestBytes', '3MiB')] })[0]!, /rings\.requestBytes/)
  assert.match(faultsOf({ flags: [flag('topics.config.retention.mss', '1')] })[0]!, /topics\.config.*retention\.mss/)
})

test('a broker of a cluster holds any batch that another one may have accepted, in its rings and in its pages', () => {
  const clustered = (...sets: [string, unknown][]) =>
    faultsOf({ flags: [flag('etcd', 'http://127.0.0.1:2379'), ...sets.map(([path, value]) => flag(path, value))] })
  // 3/8 of 8 MiB are less than max.message.bytes of some topic may be: a follower would stand still at such a batch.
  const [ring] = clustered(['rings.requestBytes', '8MiB'])
  assert.match(
    ring!,
    /rings\.requestBytes: too small for batches of 4194304 bytes: .*max\.message\.bytes of any topic.* cluster/,
  )
  assert.deepEqual(clustered(['rings.requestBytes', '16MiB']), [])
  assert.deepEqual(faultsOf({ flags: [flag('rings.requestBytes', '8MiB')] }), [], 'alone it accepts what it can hold')
  assert.match(clustered(['pages.poolBytes', '4MiB'])[0]!, /pages\.poolBytes: too small for batches of 4194304 bytes/)
  assert.deepEqual(clustered(['pages.poolBytes', '4224KiB']), [])
  assert.match(faultsOf({ flags: [flag('pages.poolBytes', '1MiB')] })[0]!, /pages\.poolBytes: .* 1048576 bytes/)
})

test('an address that others can reach needs tokens or a word', () => {
  assert.match(faultsOf({ flags: [flag('listen', '0.0.0.0:7171')] })[0]!, /auth\.tokens.*--insecure/)
  assert.deepEqual(faultsOf({ flags: [flag('listen', '0.0.0.0:7171'), flag('insecure', true)] }), [])
  assert.deepEqual(faultsOf({ flags: [flag('listen', '[::]:7171'), flag('auth.tokens', 'sixteen-characters')] }), [])
  for (const host of ['127.0.0.1', 'localhost', '[::1]', '127.1.2.3'])
    assert.deepEqual(faultsOf({ flags: [flag('listen', `${host}:0`)] }), [])
  assert.match(faultsOf({ flags: [flag('auth.tokens', 'short')] })[0]!, /auth\.tokens/)
  assert.match(faultsOf({ flags: [flag('etcd', '127.0.0.1:2379')] })[0]!, /etcd: expected URLs such as/)
  assert.match(faultsOf({ flags: [flag('cluster.etcdUser', 'u')] })[0]!, /user and password go together/)
  assert.match(faultsOf({ flags: [flag('cluster.etcdKey', 'k')] })[0]!, /certificate and key go together/)
  assert.match(faultsOf({ flags: [flag('cluster.secret', 'short')] })[0]!, /16 to 256 characters/)
  assert.match(faultsOf({ flags: [flag('listen', '127.0.0.1:99999')] })[0]!, /port/)
})

test('the Kafka door: its address, its mechanisms, and what others can reach needs one of them', () => {
  const of = (...flags: [string, unknown][]) => ({ flags: flags.map(([path, value]) => flag(path, value)) })
  const { kafka } = resolveConfig()
  const listen = { host: '127.0.0.1', port: 9092 }
  assert.deepEqual(kafka, { listen, advertised: undefined, sasl: [], idleMs: 600_000 })
  assert.equal(resolveConfig(of(['kafka', 'off'])).kafka.listen, undefined)
  const told = resolveConfig(
    of(
      ['listeners.kafka.sasl', 'SCRAM-SHA-512, PLAIN'],
      ['listeners.kafka.advertised', '[2001:db8::1]:19092'],
      ['listeners.kafka.idle', '30s'],
    ),
  ).kafka
  assert.deepEqual(told.sasl, ['SCRAM-SHA-512', 'PLAIN'])
  assert.deepEqual(told.advertised, { host: '2001:db8::1', port: 19_092 })
  assert.equal(told.idleMs, 30_000)

  const tokens: [string, unknown] = ['auth.tokens', 'sixteen-characters']
  assert.deepEqual(resolveConfig(of(tokens)).kafka.sasl, ['PLAIN'], 'with tokens there is a way to show one')
  const scram: [string, unknown] = ['listeners.kafka.sasl', ['SCRAM-SHA-256']]
  assert.deepEqual(resolveConfig(of(tokens, scram)).kafka.sasl, ['SCRAM-SHA-256'], 'what is said is what there is')

  const reachable: [string, unknown] = ['kafka', '0.0.0.0:9092']
  const unsafe = (...flags: [string, unknown][]) =>
    faultsOf(of(...flags)).filter((fault) => fault.includes('can be reached by others'))
  assert.match(unsafe(reachable)[0]!, /^--set kafka: 0\.0\.0\.0 can be reached.*listeners\.kafka\.sasl.*--insecure/)
  for (const way of [tokens, scram, ['insecure', true] as [string, unknown]])
    assert.deepEqual(unsafe(reachable, way), [])
  assert.deepEqual(unsafe(['kafka', '127.0.0.1:9092']), [])

  // Alone, a broker tells each client the address that it came to; others have to be told one.
  const clustered: [string, unknown][] = [['etcd', 'http://127.0.0.1:2379'], reachable, ['insecure', true]]
  assert.match(faultsOf(of(...clustered))[0]!, /kafka: 0\.0\.0\.0 is no address .* listeners\.kafka\.advertised/)
  assert.deepEqual(faultsOf(of(...clustered, ['listeners.kafka.advertised', 'broker:9092'])), [])

  assert.match(
    faultsOf(of(['listeners.kafka.sasl', 'GSSAPI']))[0]!,
    /some of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, each/,
  )
  assert.match(faultsOf(of(['listeners.kafka.sasl', 'PLAIN,PLAIN']))[0]!, /each once/)
  assert.match(
    faultsOf(of(['listeners.kafka.advertised', 'broker']))[0]!,
    /expected HOST:PORT, or nothing, not 'broker'/,
  )
  assert.match(faultsOf(of(['listeners.kafka.advertised', 'broker:99999']))[0]!, /the port is 0 to 65535/)
  assert.match(faultsOf(of(['listeners.kafka.idle', '1ms']))[0]!, /a duration from 1s to 1d/)
})

test('topic defaults: a map in the file, single keys by flag', () => {
  const file = { name: 'm.yaml', text: 'topics:\n  config:\n    retention.ms: 1000\n' }
  const resolved = resolveConfig({ file, flags: [flag('topics.config.segment.ms', '5000')] })
  assert.deepEqual([resolved.topics.config.retentionMs, resolved.topics.config.segmentMs], [1000, 5000])
})

test('each topic default is checked where it stands', () => {
  const text = 'topics:\n  config:\n    retention.mss: 1\n    segment.ms: soon\n'
  assert.deepEqual(faultsOf({ file: { name: 'm.yaml', text } }), [
    "m.yaml:3: topics.config.retention.mss: unknown topic configuration 'retention.mss'; did you mean 'retention.ms'?",
    "m.yaml:4: topics.config.segment.ms: 'soon' is not milliseconds, at least 1",
  ])
})

test('what is no YAML is one fault a line; what is no map says what it should be', () => {
  assert.deepEqual(faultsOf({ file: { name: 'm.yaml', text: '{{{' } }).length, 1)
  assert.match(faultsOf({ file: { name: 'm.yaml', text: 'a: [\n' } })[0]!, /^m\.yaml:\d: not YAML: /)
  assert.match(faultsOf({ file: { name: 'm.yaml', text: 'just text' } })[0]!, /^m\.yaml:1: expected keys and values/)
  assert.match(faultsOf({ file: { name: 'm.yaml', text: 'fsync: group' } })[0]!, /did you mean 'storage\.fsync'/)
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
