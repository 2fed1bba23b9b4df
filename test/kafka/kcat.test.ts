/** kcat (librdkafka 2.0 as Debian has it), unmodified: metadata, records in every codec, positions, groups, transactions. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { kafkaBroker } from '../support/kafka-broker.ts'
import { findKcat, KcatProcess, runKcat } from '../support/kcat.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 30_000
const kcat = findKcat()
const skip = kcat.kind === 'absent' ? kcat.reason : false
const program = kcat.kind === 'found' ? kcat.program : ''
const broker = kafkaBroker()

interface JsonRecord {
  readonly partition: number
  readonly offset: number
  readonly ts: number
  readonly headers?: readonly (string | null)[]
  readonly key: string | null
  readonly payload: string | null
}

/** What kcat prints; it has to end well. */
async function run(args: readonly string[], input: string | Uint8Array = ''): Promise<string> {
  const { code, stdout, stderr } = await runKcat(program, ['-b', broker.kafka, ...args], input)
  assert.equal(code, 0, `kcat ${args.join(' ')}: ${stderr}`)
  return stdout
}

const consume = async (...args: string[]): Promise<string[]> => lines(await run(['-C', '-e', '-q', ...args]))
const consumeJson = async (...args: string[]): Promise<JsonRecord[]> =>
  (await consume('-J', ...args)).map((line) => JSON.parse(line) as JsonRecord)

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}

function numbered(count: number, prefix = 'v'): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`)
}

test('metadata: the broker as it is advertised, topics with their partitions; an unknown topic is one', {
  skip,
}, async (t) => {
  if (kcat.kind === 'found') t.diagnostic(`reached with ${kcat.version}`)
  const mq = await broker.client()
  await mq.admin.topics.create('kcat-metadata', { partitions: 3 })
  const { brokers, topics, controllerid } = JSON.parse(await run(['-L', '-J'])) as {
    brokers: { id: number; name: string }[]
    controllerid: number
    topics: { topic: string; partitions: { partition: number; leader: number; isrs: { id: number }[] }[] }[]
  }
  assert.deepEqual(brokers, [{ id: controllerid, name: broker.kafka }])
  const { partitions } = topics.find(({ topic }) => topic === 'kcat-metadata')!
  assert.deepEqual(
    partitions.map(({ partition, leader, isrs }) => [partition, leader, isrs.map(({ id }) => id)]),
    [0, 1, 2].map((partition) => [partition, controllerid, [controllerid]]),
  )
  // A consumer does not have topics made.
  const { code, stderr } = await runKcat(program, ['-b', broker.kafka, '-C', '-e', '-t', 'kcat-nowhere'])
  assert.equal(code, 1)
  assert.match(stderr, /kcat-nowhere.*Unknown topic or partition/)
})

for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)
  test(`${codec}: what kcat writes is stored so, and kcat and the native client read it`, { skip }, async () => {
    const topic = `kcat-${codec}`
    const values = numbered(2_000, 'the same words again and again ')
    await run(
      ['-P', '-t', topic, '-z', codec, '-K', ':'],
      values.map((value, index) => `k${index}:${value}\n`).join(''),
    )
    const expected = values.map((value, index) => `k${index}=${value}`)
    assert.deepEqual(await consume('-t', topic, '-f', '%k=%s\n'), expected)
    const read = await broker.records(topic)
    assert.deepEqual(
      read.map(({ key, value }) => `${key}=${value}`),
      expected,
    )
    // A batch of few records that does not get smaller is sent as it is.
    const codecs = (await broker.batches(topic))
      .filter(({ recordsCount }) => recordsCount > 10)
      .map((each) => each.codec)
    assert.deepEqual([...new Set(codecs)], [codec])
  })

test('codecs of the native client are read by kcat', { skip }, async () => {
  const mq = await broker.client()
  for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const) {
    const topic = `kcat-native-${compression}`
    await mq.admin.topics.create(topic)
    const producer = mq.producer(topic, { compression })
    const values = numbered(500, 'the same words again and again ')
    await producer.sendMany(values.map((value) => ({ key: 'k', value })))
    await producer.close()
    assert.deepEqual(await consume('-t', topic), values, compression)
  }
})

test('keys, empty keys, tombstones and headers', { skip }, async () => {
  const produce = (input: string, ...args: string[]): Promise<string> =>
    run(['-P', '-t', 'kcat-records', ...args], input)
  await produce('k1:v1\nk2:\n', '-K', ':', '-Z', '-H', 'a=1', '-H', 'b=', '-H', 'a=2')
  await produce('without a key\n')
  await produce('naïve ключ:日本 𝄞\n', '-K', ':')
  const records = await consumeJson('-t', 'kcat-records')
  const headers = ['a', '1', 'b', '', 'a', '2']
  assert.deepEqual(
    records.map((record) => [record.key, record.payload, record.headers ?? []]),
    [
      ['k1', 'v1', headers],
      ['k2', null, headers],
      [null, 'without a key', []],
      ['naïve ключ', '日本 𝄞', []],
    ],
  )
  const [first, second, third] = await broker.records('kcat-records')
  assert.deepEqual(first!.headers, [
    ['a', '1'],
    ['b', ''],
    ['a', '2'],
  ])
  assert.deepEqual([second!.value, third!.key], [null, null])
})

test('one record of 900,000 bytes; one that is larger than the topic allows is refused by its name', {
  skip,
}, async () => {
  const large = 'x'.repeat(900_000)
  await run(['-P', '-t', 'kcat-large'], large)
  const [read] = await consume('-t', 'kcat-large')
  assert.ok(read === large)
  const args = ['-b', broker.kafka, '-P', '-t', 'kcat-large', '-X', 'message.max.bytes=4000000']
  const { code, stderr } = await runKcat(program, args, 'y'.repeat(2_000_000))
  assert.equal(code, 1)
  assert.match(stderr, /Broker: Message size too large/)
})

test('-Q: offsets by time; -o: beginning, end, an offset, the last N, from a time on', { skip }, async () => {
  const mq = await broker.client()
  await mq.admin.topics.create('kcat-positions', { partitions: 1 })
  const producer = mq.producer('kcat-positions')
  const startMs = Date.now() - 3_600_000
  for (let index = 0; index < 10; index++)
    await producer.send({ value: `v${index}`, timestampMs: startMs + 1_000 * index })
  await producer.close()
  const offsetAt = async (timeMs: number): Promise<number> => {
    const answer = await run(['-Q', '-t', `kcat-positions:0:${timeMs}`])
    return Number(/offset (-?\d+)/.exec(answer)?.[1])
  }
  assert.equal(await offsetAt(startMs), 0)
  assert.equal(await offsetAt(startMs + 3_000), 3)
  assert.equal(await offsetAt(startMs + 3_001), 4)
  assert.equal(await offsetAt(startMs + 60_000), -1)
  assert.equal(await offsetAt(-2), 0)
  assert.equal(await offsetAt(-1), 10)
  const all = numbered(10)
  const from = (offset: string): Promise<string[]> => consume('-t', 'kcat-positions', '-p', '0', '-o', offset)
  assert.deepEqual(await from('beginning'), all)
  assert.deepEqual(await from('end'), [])
  assert.deepEqual(await from('7'), all.slice(7))
  assert.deepEqual(await from('-3'), all.slice(7))
  assert.deepEqual(await from(`s@${startMs + 4_500}`), all.slice(5))
  const between = ['-o', `s@${startMs + 2_000}`, '-o', `e@${startMs + 6_000}`]
  assert.deepEqual(await consume('-t', 'kcat-positions', '-p', '0', ...between), all.slice(2, 6))
  const counted = await run(['-C', '-q', '-c', '4', '-t', 'kcat-positions', '-o', 'beginning', '-f', '%o %T\n'])
  assert.deepEqual(
    lines(counted),
    [0, 1, 2, 3].map((offset) => `${offset} ${startMs + 1_000 * offset}`),
  )
})

test('an offset that is not there: auto.offset.reset decides', { skip }, async () => {
  await run(['-P', '-t', 'kcat-reset', '-p', '0'], 'a\nb\nc\n')
  assert.deepEqual(
    await consume('-t', 'kcat-reset', '-p', '0', '-o', '100', '-X', 'topic.auto.offset.reset=earliest'),
    ['a', 'b', 'c'],
  )
})

test('idempotent and transactional: producer ids are in the log; what was aborted is nobody’s to read', {
  skip,
}, async () => {
  const values = numbered(1_000)
  const input = values.map((value) => `${value}\n`).join('')
  await run(['-P', '-t', 'kcat-idempotent', '-X', 'enable.idempotence=true'], input)
  assert.deepEqual(await consume('-t', 'kcat-idempotent'), values)
  const batches = await broker.batches('kcat-idempotent')
  assert.ok(batches.every(({ producerId, isTransactional }) => producerId >= 0 && !isTransactional))

  const transactional = ['-P', '-t', 'kcat-transactional', '-X', 'transactional.id=kcat-1']
  await run(transactional, input)
  assert.deepEqual(await consume('-t', 'kcat-transactional'), values)
  assert.ok((await broker.batches('kcat-transactional')).every(({ isTransactional }) => isTransactional))

  // Told to end, it aborts.
  const told = new KcatProcess(program, ['-b', broker.kafka, ...transactional])
  told.write(padded('aborted'))
  await until('the record of an open transaction', WAIT_MS, async () => {
    const all = await broker.records('kcat-transactional', 'read_uncommitted').catch(() => [])
    return all.some(({ value }) => value?.startsWith('aborted'))
  })
  await told.end('SIGINT')
  // Killed, it leaves the transaction to its next life, which fences it.
  const killed = new KcatProcess(program, ['-b', broker.kafka, ...transactional])
  killed.write(padded('never decided'))
  await until('the record of a second open transaction', WAIT_MS, async () => {
    const all = await broker.records('kcat-transactional', 'read_uncommitted')
    return all.some(({ value }) => value?.startsWith('never decided'))
  })
  await killed.end('SIGKILL')
  await run(transactional, 'after\n')
  assert.deepEqual(await consume('-t', 'kcat-transactional'), [...values, 'after'])
  const uncommitted = await consume('-t', 'kcat-transactional', '-X', 'isolation.level=read_uncommitted')
  assert.deepEqual(
    new Set(uncommitted.map((line) => line.split(' x')[0])),
    new Set([...values, 'aborted', 'never decided', 'after']),
  )
})

/** More than kcat wants to have read before it sends anything. */
function padded(word: string): string {
  return `${word} ${'x'.repeat(200)}\n`.repeat(2_000)
}

test('a group of two: partitions are shared; one is killed, the other has them all; nothing is lost', {
  skip,
}, async () => {
  const mq = await broker.client()
  await mq.admin.topics.create('kcat-group', { partitions: 4 })
  const producer = mq.producer('kcat-group')
  const args = ['-b', broker.kafka, '-q', '-u', '-f', '%p/%o %s\n', '-X', 'auto.offset.reset=earliest']
  const timing = [
    '-X',
    'session.timeout.ms=6000',
    '-X',
    'heartbeat.interval.ms=200',
    '-X',
    'auto.commit.interval.ms=200',
  ]
  const member = (): KcatProcess => new KcatProcess(program, [...args, ...timing, '-G', 'kcat-group', 'kcat-group'])
  const members = [member(), member()]
  let sent = 0
  const send = async (): Promise<void> => {
    const partition = sent % 4
    await producer.send({ partition, value: `v${sent++}` })
  }
  const partitionsOf = ({ lines }: KcatProcess, from: number): Set<string> =>
    new Set(lines.slice(from).map((line) => line.split('/')[0]!))
  try {
    await until('two members that share the partitions', WAIT_MS, async () => {
      const counts = members.map(({ lines }) => lines.length)
      for (let index = 0; index < 8; index++) await send()
      await new Promise((resolve) => setTimeout(resolve, 200))
      return members.every((each, index) => partitionsOf(each, counts[index]!).size === 2)
    })
    const described = await mq.admin.groups.describe('kcat-group')
    assert.deepEqual([described.kind, described.state, described.members.length], ['classic', 'Stable', 2])
    await members[0]!.end('SIGKILL')
    for (let index = 0; index < 100; index++) await send()
    await until('one member with everything', WAIT_MS, () => {
      const values = new Set(members.flatMap(({ lines }) => lines.map((line) => line.split(' ')[1])))
      return values.size === sent
    })
    // SIGTERM: it commits and leaves.
    await members[1]!.end('SIGTERM')
    await until('an empty group with all offsets', WAIT_MS, async () => {
      const { state, offsets } = await mq.admin.groups.describe('kcat-group')
      return state === 'Empty' && offsets.reduce((sum, { offset }) => sum + offset, 0) === sent
    })
    assert.deepEqual(await consumeGroup('kcat-group'), [])
  } finally {
    for (const each of members) await each.end('SIGKILL')
    await producer.close()
  }
})

/** What a new member of the group reads until the ends of all partitions. */
async function consumeGroup(group: string): Promise<string[]> {
  return lines(await run(['-q', '-e', '-G', group, group, '-X', 'auto.offset.reset=earliest']))
}
