/** The verbs of `millrace` against one real broker, as a new user tries them one after the other. */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { BrokerProcess } from '../support/broker-process.ts'
import { millrace, type Outcome, type RunOptions } from '../support/run-millrace.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-command-line-'))
const dataDir = join(folder, 'data')
let broker: BrokerProcess

before(async () => {
  broker = await BrokerProcess.start({ dataDir })
})

after(async () => {
  await broker?.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** Runs it and expects success. */
async function run(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const outcome = await millrace(args, { url: broker.url, ...options })
  assert.equal(outcome.code, 0, `millrace ${args.join(' ')}: ${outcome.stderr}`)
  return outcome
}

/** The JSON lines it writes. */
async function json(args: readonly string[], options: RunOptions = {}): Promise<Record<string, unknown>[]> {
  const { stdout } = await run([...args, '--json'], options)
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

test('topics: made, listed, described, altered, trimmed, deleted', async () => {
  const config = ['--config', 'retention.ms=3600000', '--config', 'segment.bytes=1048576']
  assert.equal((await run(['topic', 'create', 'orders', '--partitions', '2', ...config])).stdout, '')
  const [again] = await json(['topic', 'create', 'orders', '--if-not-exists'])
  assert.deepEqual([again?.created, again?.partitions], [false, 2])
  await run(['topic', 'create', 'other', '--replicas', '1', '-q'])
  assert.equal((await run(['topic', 'list'])).stdout, 'NAME    PARTITIONS\norders           2\nother            6\n')
  await run(['topic', 'delete', 'other'])
  const list = await json(['topic', 'list'])
  assert.deepEqual(
    list.map(({ name }) => name),
    ['orders'],
  )
  const changes = ['--partitions', '3', '--config', 'retention.ms=', '--config', 'flush.ms=500']
  const altered = await run(['topic', 'alter', 'orders', ...changes])
  assert.match(
    altered.stderr,
    /orders: 3 partitions\norders: retention\.ms as the broker has it\norders: flush\.ms=500\n/,
  )
  assert.match(altered.stderr, /keys hash to other partitions/)
  const [topic] = await json(['topic', 'describe', 'orders'])
  assert.deepEqual(topic?.config, { 'segment.bytes': '1048576', 'flush.ms': '500' })
  await run(['produce', 'orders', '-p', '1'], { input: 'a\nb\nc\nd\n' })
  const trimmed = await json(['topic', 'trim', 'orders', '--before', '3', '-p', '1'])
  assert.deepEqual(trimmed, [{ topic: 'orders', partition: 1, logStartOffset: 3 }])
  assert.match((await run(['topic', 'describe', 'orders'])).stdout, /^ {8}1 +1 +0 +1 +1 +3 +4 +4 {2}online$/m)
  assert.equal((await run(['consume', 'orders', '-o', 'start', '-e'])).stdout, 'd\n')
  await run(['produce', 'orders', '-p', '2'], { input: 'e\nf\n' })
  const kept = await json(['topic', 'trim', 'orders', '--before', '-1', '-p', '1,2'])
  assert.deepEqual(
    kept.map(({ partition, logStartOffset }) => [partition, logStartOffset]),
    [
      [1, 3],
      [2, 1],
    ],
  )
  await run(['topic', 'trim', 'orders', '--before', '@2001-01-01'])
  assert.deepEqual((await run(['consume', 'orders', '-o', 'start', '-e'])).stdout.split('\n').sort(), ['', 'd', 'f'])
  await run(['topic', 'trim', 'orders', '--before', 'end'])
  assert.equal((await run(['consume', 'orders', '-o', 'start', '-e'])).stdout, '')
})

test('groups: each reads everything, goes on where it was, is described, moved and deleted', async () => {
  await run(['topic', 'create', 'shared', '--partitions', '3'])
  const lines = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, index) => `k${from + index}:${from + index}\n`).join('')
  await run(['produce', 'shared', '-K', ':'], { input: lines(0, 30) })
  const read = async (group: string, ...flags: string[]): Promise<number[]> => {
    const { stdout } = await run(['consume', 'shared', '-g', group, '-e', ...flags])
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map(Number)
      .sort((left, right) => left - right)
  }
  const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index)
  assert.deepEqual(await read('first', '-o', 'start'), numbers(0, 30))
  assert.deepEqual(await read('second', '-o', 'start'), numbers(0, 30), 'another group has its own place')
  await run(['produce', 'shared', '-K', ':'], { input: lines(30, 50) })
  const some = await read('first', '-n', '7')
  assert.equal(some.length, 7)
  const rest = await read('first')
  assert.deepEqual(
    [...some, ...rest].sort((left, right) => left - right),
    numbers(30, 50),
    'none twice, none left out',
  )

  const groups = await json(['group', 'list'])
  assert.deepEqual(
    groups.map(({ groupId, state, memberCount }) => [groupId, state, memberCount]),
    [
      ['first', 'Empty', 0],
      ['second', 'Empty', 0],
    ],
  )
  const { stdout } = await run(['group', 'describe', 'second'])
  assert.match(stdout, /^lag {9}20 records, the oldest is \d/m)
  assert.match(stdout, /^TOPIC {3}PARTITION {2}COMMITTED/m)
  const planned = await json(['group', 'seek', 'first', '--to', 'start', '--dry-run'])
  assert.ok(planned.every(({ toOffset }) => toOffset === 0))
  assert.deepEqual(await read('first'), [], 'a dry run changes nothing')
  await run(['group', 'seek', 'first', '--to', 'start'])
  assert.deepEqual(await read('first'), numbers(0, 50))
  await run(['group', 'delete', 'first'])
  assert.equal((await json(['group', 'list'])).length, 1)
  const gone = await millrace(['group', 'describe', 'first'], { url: broker.url })
  assert.equal(gone.code, 3)
  assert.match(gone.stderr, /there is no group 'first'; millrace group list shows those there are/)
})

test('users: a password from the environment or a pipe, listed, deleted', async () => {
  const set = await run(['user', 'set', 'alice'], { env: { MILLRACE_PASSWORD: 'one-pencil' } })
  assert.deepEqual([set.stdout, set.stderr], ['', 'alice has a password, for SCRAM-SHA-256 and SCRAM-SHA-512\n'])
  const by = ['-m', 'SCRAM-SHA-512', '--iterations', '4096']
  const [bob] = await json(['user', 'set', 'bob', ...by], { input: 'two-pencils\n' })
  assert.deepEqual(bob, { name: 'bob', credentials: [{ mechanism: 'SCRAM-SHA-512', iterations: 4096 }] })
  const { stdout } = await run(['user', 'list'])
  assert.match(
    stdout,
    /^USER {3}MECHANISMS\nalice {2}SCRAM-SHA-256 \(8192 iterations\), SCRAM-SHA-512 \(8192 iterations\)\nbob/,
  )
  assert.deepEqual(await json(['user', 'delete', 'bob']), [{ name: 'bob', deleted: true }])
  assert.deepEqual(
    (await json(['user', 'list'])).map(({ name }) => name),
    ['alice'],
  )
  for (const file of readdirSync(join(dataDir, 'metadata'))) {
    const text = readFileSync(join(dataDir, 'metadata', file), 'latin1')
    const values = [...text.matchAll(/"([A-Za-z0-9+/=]+)"/g)].map(([, value]) =>
      Buffer.from(value!, 'base64').toString(),
    )
    assert.doesNotMatch([text, ...values].join('\n'), /pencil/)
  }
})

test('produce: keys, headers, codecs, acknowledgements, receipts, a file, a pace', async () => {
  await run(['topic', 'create', 'sent', '--partitions', '1'])
  const receipts = await json(['produce', 'sent', '-K', '=', '-H', 'from:test'], { input: 'k=v=w\nplain\n' })
  assert.deepEqual(
    receipts.map(({ topic, partition, offset, durability }) => [topic, partition, offset, durability]),
    [
      ['sent', 0, 0, 'fsynced'],
      ['sent', 0, 1, 'fsynced'],
    ],
  )
  for (const codec of ['gzip', 'snappy', 'lz4', 'zstd'])
    await run(['produce', 'sent', '--compression', codec, '-k', codec], { input: `${codec}\n` })
  for (const acks of ['none', 'leader', 'all']) await run(['produce', 'sent', '--acks', acks], { input: `${acks}\n` })
  const file = join(folder, 'lines.txt')
  writeFileSync(file, 'first\nlast')
  const paced = await run(['produce', 'sent', '--file', file, '--rate', '1000'])
  assert.deepEqual([paced.stdout, paced.stderr], ['', ''], 'in a pipe neither talk nor a bar')
  const read = await run(['consume', 'sent', '-o', 'start', '-e', '-f', '%o|%k|%v|%h\\n'])
  const lines = read.stdout.split('\n')
  assert.deepEqual(lines.slice(0, 3), ['0|k|v=w|from:test', '1||plain|from:test', '2|gzip|gzip|'])
  assert.deepEqual(lines.slice(-3), ['9||first|', '10||last|', ''])
})

test('consume: positions, counts, partitions, several topics, JSON that goes in again', async () => {
  for (const name of ['left', 'right']) await run(['topic', 'create', name, '--partitions', '2'])
  const input = '0\n1\n2\n3\n4\n'
  for (const partition of ['0', '1']) await run(['produce', 'left', '-p', partition], { input })
  const read = async (...flags: string[]) => (await run(['consume', 'left', '-p', '0', '-e', ...flags])).stdout
  assert.equal(await read('-o', '-2', '-f', '%v '), '3 4 ')
  assert.equal(await read('-o', '+4', '-f', '%v '), '4 ')
  assert.equal(await read('-o', '3', '-n', '1', '-f', '%v '), '3 ')
  assert.equal(await read('-o', '@-1h', '-f', '%v '), '0 1 2 3 4 ')
  assert.equal(await read('-o', 'end'), '')
  assert.equal(await read(), '', 'the default is end')
  const lines = (await run(['consume', 'left', '-o', 'start', '-e', '--json'])).stdout
  await run(['produce', 'right', '--input', 'json'], { input: lines })
  const both = await json(['consume', 'left', 'right', '-o', 'start', '-e'])
  const values = (topic: string, partition: number) =>
    both.filter((each) => each.topic === topic && each.partition === partition).map(({ value }) => value)
  for (const topic of ['left', 'right'])
    for (const partition of [0, 1]) assert.deepEqual(values(topic, partition), ['0', '1', '2', '3', '4'])
})

test('cluster: what one broker can tell', async () => {
  const [info] = await json(['cluster', 'info'])
  assert.equal(info?.offlinePartitions, 0)
  assert.match((await run(['cluster', 'info'])).stdout, /^clusterId {10}[0-9a-f]{32}$/m)
  const [node] = await json(['cluster', 'brokers'])
  assert.equal(node?.url, broker.url)
  assert.match((await run(['cluster', 'brokers'])).stdout, /^ +1 +ws:.* {2}serving, controller$/m)
  const shards = await run(['cluster', 'shards'])
  assert.match(shards.stdout, /^NODE +SHARD +PARTITIONS +STATE +OFFLINE +REASON$/m)
  assert.match(shards.stdout, /^ +1 +0 +\d+ +serving +0 +-$/m)
  assert.equal((await run(['cluster', 'health'])).stdout, 'healthy\n')
  assert.deepEqual(await json(['cluster', 'health']), [{ healthy: true, reasons: [], shards: [] }])
})

test('-v says more, -q less, to stderr alone', async () => {
  const loud = await run(['produce', 'sent', '-v'], { input: 'x\n' })
  assert.match(loud.stderr, /connected to .*: millrace \d.*\n1 records, .* records\/s\n/)
  assert.equal(loud.stdout, '')
  const quiet = await run(['topic', 'create', 'quiet', '-q'])
  assert.deepEqual([quiet.stdout, quiet.stderr], ['', ''])
})

test('config: shown with sources, as a file that is valid again, and the profiles', async () => {
  const file = join(folder, 'broker.yaml')
  writeFileSync(file, 'profile: throughput\nstorage:\n  checkpoint: 7s\nnodeId: 5\n')
  const env = { MILLRACE_STORAGE__FSYNC: 'interval', MILLRACE_SERVER: 'ws://nowhere' }
  const flags = ['-c', file, '--set', 'limits.connections=9', '--node-id', '6']
  const entries = await json(['config', 'show', ...flags], { env })
  const entry = (path: string) => {
    const { value, source } = entries.find((each) => each.path === path) ?? {}
    return [value, source]
  }
  assert.deepEqual(entry('profile'), ['throughput', `${file}:1`])
  assert.deepEqual(entry('storage.checkpoint'), ['7s', `${file}:3`])
  assert.deepEqual(entry('nodeId'), ['6', 'flag --node-id'])
  assert.deepEqual(entry('limits.connections'), ['9', 'flag --set limits.connections'])
  assert.deepEqual(entry('storage.fsync'), ['interval', 'env MILLRACE_STORAGE__FSYNC'])
  assert.deepEqual(entry('rings.requestBytes'), ['32MiB', 'profile throughput'])
  assert.deepEqual(entry('dataDir'), ['./data', 'default'])
  const effective = await run(['config', 'show', '--effective', ...flags], { env })
  assert.match(effective.stdout, /^KEY +VALUE +FROM$/m)
  assert.match(effective.stdout, /^storage\.fsync +interval +env MILLRACE_STORAGE__FSYNC$/m)
  const shown = join(folder, 'shown.yaml')
  writeFileSync(shown, (await run(['config', 'show', ...flags], { env })).stdout)
  assert.match((await run(['config', 'validate', shown])).stderr, /is valid/)
  const profiles = await json(['config', 'profiles'])
  assert.deepEqual(
    profiles.map(({ profile }) => profile),
    ['balanced', 'throughput', 'latency'],
  )
  assert.match((await run(['config', 'profiles'])).stdout, /shard\.wait +spin +wait +no wake-up/)
})

test('doctor: every check has a verdict, and a broker that runs is no fault', async () => {
  const flags = ['--data-dir', dataDir, '--listen', new URL(broker.url).host]
  const { stdout, stderr, code } = await millrace(['doctor', '--json', ...flags])
  const checks = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { check: string; status: string; text: string; fix?: string })
  const names = ['node', 'npm', 'websocket', 'libraries', 'cores', 'memory', 'files', 'clock']
  assert.deepEqual(
    checks.map(({ check }) => check),
    [...names, 'data-dir', 'space', 'fdatasync', 'port', 'kafka-port'],
  )
  // What this machine lacks is its own matter; that it is told with a way out is doctor's.
  for (const { check, status, fix } of checks) assert.equal(fix === undefined, status === 'ok', check)
  const find = (name: string) => checks.find(({ check }) => check === name)
  assert.deepEqual([find('data-dir')?.status, find('port')?.status], ['ok', 'ok'])
  assert.match(find('data-dir')?.text ?? '', new RegExp(`process ${broker.pid} runs on it`))
  assert.match(find('port')?.text ?? '', /a Millrace broker serves/)
  assert.equal(code, checks.some(({ status }) => status === 'fail') ? 1 : 0, stderr)
  assert.deepEqual(
    readdirSync(dataDir).filter((name) => name.includes('doctor')),
    [],
  )
})

test('verify, dump and check look into what a stopped broker left', async () => {
  await broker.stop()
  const verified = await millrace(['verify', dataDir])
  assert.equal(verified.code, 0, verified.stderr)
  assert.match(verified.stderr, /\d+ partitions, \d+ segments, \d+ batches, .* MB checked\nsound/)
  const segment = readdirSync(dataDir, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.log'))
    .map((name) => join(dataDir, name))
    .find((name) => readFileSync(name).includes('from'))
  const dumped = await millrace(['dump', segment ?? 'none'])
  assert.equal(dumped.code, 0, dumped.stderr)
  assert.match(dumped.stdout, /"plain"|cGxhaW4=/)
  const history = join(folder, 'history.jsonl')
  const sent = '{"process":1,"type":"invoke","f":"send","records":[{"topic":"t","partition":0,"value":"v1"}]}'
  writeFileSync(history, `${sent}\n${sent.replace('invoke', 'ok').replace('"value"', '"offset":0,"value"')}\n`)
  const judged = await millrace(['check', history, '--json'])
  assert.equal(judged.code, 0, judged.stderr)
  assert.equal((JSON.parse(judged.stdout) as { valid: boolean }).valid, true)
})

test('verify --repair cuts a log that serves only where the loss is accepted, and says what it was', async () => {
  const copy = join(folder, 'damaged')
  cpSync(dataDir, copy, { recursive: true })
  const segment = readdirSync(copy, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.log'))
    .map((name) => join(copy, name))
    .find((name) => readFileSync(name).includes('from'))!
  const bytes = readFileSync(segment)
  bytes[bytes.length - 1]! ^= 1
  writeFileSync(segment, bytes)
  const found = await millrace(['verify', copy])
  assert.equal(found.code, 1)
  assert.match(found.stderr, /damaged place.*; --repair mends what can be mended/)
  const left = await millrace(['verify', copy, '--repair'])
  assert.equal(left.code, 1)
  assert.match(left.stderr, /damaged place.*; --accept-loss cuts these logs/)
  assert.deepEqual(readFileSync(segment), bytes)
  const cut = await millrace(['verify', copy, '--repair', '--accept-loss'])
  assert.equal(cut.code, 0, cut.stderr)
  assert.match(cut.stdout, /^repaired folder=.* fromOffset=\d+ .*setAside=quarantine/m)
  assert.match(cut.stderr, /1 partition cut; what they lost is told above\nsound/)
})

test('check names what is wrong with a history', async () => {
  const file = join(folder, 'wrong.jsonl')
  const record = { topic: 't', partition: 0, value: 'v1' }
  const lines = [
    { process: 1, type: 'ok', f: 'begin', txn: 'x1' },
    { process: 1, type: 'invoke', f: 'send', txn: 'x1', records: [record] },
    { process: 1, type: 'ok', f: 'send', records: [{ ...record, offset: 3 }] },
    { process: 1, type: 'invoke', f: 'abort', txn: 'x1' },
    { process: 1, type: 'ok', f: 'abort', txn: 'x1' },
    { process: 2, type: 'ok', f: 'poll', records: [{ ...record, offset: 3 }] },
    { process: 2, type: 'ok', f: 'poll', records: [{ ...record, value: 'v2', offset: 4 }] },
  ]
  writeFileSync(file, lines.map((line) => JSON.stringify(line)).join('\n'))
  const said = await millrace(['check', file, '--max', '1'])
  assert.equal(said.code, 1)
  assert.match(said.stdout, /^ +1 +phantom +a value read that nobody sent$/m)
  assert.match(said.stdout, /^ +1 +aborted-read +a read_committed reader got .* \(G1a\)$/m)
  assert.match(said.stdout, /^line 6: aborted-read t-0@3: 'v1' of transaction 'x1', which was not committed: line 5$/m)
  assert.match(said.stderr, /1 record sent \(1 acknowledged, 0 failed, 0 in doubt\), 2 read/)
  assert.match(said.stderr, /1 transaction \(0 committed, 1 aborted, 0 in doubt, 0 open\)/)
  assert.match(said.stderr, /and 1 more: --max shows them\nerror: the history has 2 anomalies/)
  const json = await millrace(['check', file, '--json'])
  assert.equal(json.code, 1)
  assert.deepEqual((JSON.parse(json.stdout) as { counts: unknown }).counts, { 'aborted-read': 1, phantom: 1 })
  writeFileSync(
    file,
    lines
      .slice(1)
      .map((line) => JSON.stringify(line))
      .join('\n'),
  )
  const refused = await millrace(['check', file])
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /wrong\.jsonl: line 1: no transaction 'x1' was begun; a history is JSON lines/)
})
