/** Sessions while the consumer's event loop is blocked: extended from another thread until a time, and never confirmed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { resolveClientOptions } from '../../../src/client/client-options.ts'
import { SessionExtender } from '../../../src/client/group/session-extender.ts'
import { nodeRuntime } from '../../../src/client/node-runtime.ts'
import { until } from '../../support/expect.ts'
import { type FakeBroker, withFakeBroker } from '../../support/fake-broker.ts'

const FAST = resolveClientOptions({ backoffMsMin: 2, backoffMsMax: 20 })

async function withExtender(
  body: (extender: SessionExtender, broker: FakeBroker) => Promise<void>,
  options = FAST,
): Promise<void> {
  await withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    const extender = new SessionExtender(nodeRuntime(), { urls: [broker.url], options })
    try {
      await body(extender, broker)
    } finally {
      extender.close()
    }
  })
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const member = { groupId: 'g', memberId: 'm', everyMs: 20, forMs: 60_000, sessionTimeoutMs: 3_600_000, urls: [] }

/** So that the group knows the member and keeps being asked for it. */
function join(broker: FakeBroker, memberId: string, groupId = 'g'): void {
  const never = { instanceId: null, epoch: 1, topics: [], pattern: '', sessionTimeoutMs: 1e9, rebalanceTimeoutMs: 1e9 }
  const none = { heardMs: 0, assigned: new Set<string>(), revoking: new Map<string, number>(), told: '' }
  broker.groups.group(groupId).members.set(memberId, { memberId, ...never, ...none })
}

test('it extends a member whose heartbeats have stopped, again and again, through broken connections', () =>
  withExtender(async (extender, broker) => {
    join(broker, 'm')
    extender.heard(member)
    await until(() => broker.groups.extended.length >= 3)
    broker.breakConnections()
    const before = broker.groups.extended.length
    await until(() => broker.groups.extended.length >= before + 3)
    assert.deepEqual(new Set(broker.groups.extended), new Set(['m']))
    assert.deepEqual(broker.groups.heartbeats, [], 'it confirms nothing')
  }))

test('it is silent past the time that the last heartbeat named', () =>
  withExtender(async (extender, broker) => {
    join(broker, 'm')
    extender.heard({ ...member, forMs: 0 })
    await pause(100)
    assert.deepEqual(broker.groups.extended, [])
    extender.heard(member)
    await until(() => broker.groups.extended.length > 0)
    extender.heard({ ...member, forMs: 0 })
    // One may be on its way still; then none comes for many times its interval.
    let [before, rounds] = [-1, 0]
    while (broker.groups.extended.length !== before) {
      assert.ok(++rounds < 10, 'it goes on')
      before = broker.groups.extended.length
      await pause(200)
    }
  }))

test('a member that has left, or that the group does not know, is let go', () =>
  withExtender(async (extender, broker) => {
    extender.heard(member)
    await until(() => broker.groups.extended.length === 1)
    await pause(100)
    assert.equal(broker.groups.extended.length, 1)
    extender.heard(member)
    extender.forget('g', 'm')
    await pause(100)
    assert.equal(broker.groups.extended.length, 1)
  }))

test('a group that is refused is backed off alone: those behind it are extended', () =>
  withExtender(
    async (extender, broker) => {
      let refused = 0
      broker.groups.refuse = ({ groupId }) => {
        if (groupId !== 'failing') return undefined
        refused++
        return 'COORDINATOR_NOT_AVAILABLE'
      }
      join(broker, 'm')
      extender.heard({ ...member, groupId: 'failing', everyMs: 1 })
      extender.heard(member)
      await until(() => refused > 0 && broker.groups.extended.length >= 3)
      assert.equal(refused, 1, 'its backoff is long')
    },
    resolveClientOptions({ backoffMsMin: 600_000, backoffMsMax: 600_000 }),
  ))

test('a group that is not answered holds up itself alone, with one request', () =>
  withExtender(async (extender, broker) => {
    broker.faults = ({ name, index }) => ({ kind: name === 'SESSION_EXTEND' && index === 0 ? 'drop-reply' : 'none' })
    join(broker, 'silent', 'silent')
    join(broker, 'm')
    extender.heard({ ...member, groupId: 'silent', memberId: 'silent', everyMs: 1 })
    await until(() => broker.groups.extended.length > 0)
    extender.heard(member)
    // Also where its member is let go and comes back meanwhile.
    extender.forget('silent', 'silent')
    extender.heard({ ...member, groupId: 'silent', memberId: 'silent', everyMs: 1 })
    await until(() => broker.groups.extended.length >= 5)
    assert.deepEqual(broker.groups.extended.slice(0, 5), ['silent', 'm', 'm', 'm', 'm'])
  }))

/** Half of the request timeout: a machine may be slow. */
const LOST_MS_MAX = FAST.requestTimeoutMs / 2

test('an extension that is lost is sent again, on a new connection, long before the request timeout of the client', () =>
  withExtender(async (extender, broker) => {
    broker.faults = ({ name, index }) => ({ kind: name === 'SESSION_EXTEND' && index === 0 ? 'drop-reply' : 'none' })
    join(broker, 'm')
    extender.heard({ ...member, sessionTimeoutMs: 2_000 })
    await until(() => broker.groups.extended.length >= 3, LOST_MS_MAX)
    assert.ok(broker.connections >= 2)
  }))

test('so is one under way when a member with a shorter session comes', () =>
  withExtender(async (extender, broker) => {
    broker.faults = ({ name, index }) => ({ kind: name === 'SESSION_EXTEND' && index === 0 ? 'drop-reply' : 'none' })
    join(broker, 'm')
    extender.heard(member)
    await until(() => broker.groups.extended.length > 0)
    join(broker, 'other', 'other')
    extender.heard({ ...member, groupId: 'other', memberId: 'other', sessionTimeoutMs: 2_000 })
    const countOf = (memberId: string) => broker.groups.extended.filter((each) => each === memberId).length
    await until(() => countOf('m') >= 3 && countOf('other') >= 1, LOST_MS_MAX)
  }))

/** Consumes in a thread, whose handler blocks its event loop for `blockMs`; posts what happened. */
const CONSUMER = `
const { parentPort, workerData } = require('node:worker_threads')
;(async () => {
  const { connect } = await import(workerData.client)
  const mq = await connect(workerData.url)
  const group = mq.group('g', 't', {
    from: 'start', commit: 'manual', sessionTimeoutMs: 1500, pollIntervalMsMax: workerData.pollIntervalMsMax,
  })
  group.on('lost', () => parentPort.postMessage('lost'))
  for await (const record of group) {
    const block = (ms) => {
      for (const untilMs = Date.now() + ms; Date.now() < untilMs; );
    }
    let isUp = !workerData.waits
    if (!isUp) parentPort.once('message', () => (isUp = true))
    while (!isUp) {
      block(100) // too short to matter, and long enough for the keep-alive thread to show itself
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    parentPort.postMessage('blocked')
    block(workerData.blockMs)
    await group.commit(record).then(() => parentPort.postMessage('committed'), (error) => parentPort.postMessage(error.code))
    break
  }
  await mq.close()
})()
`

interface BlockOptions {
  readonly blockMs: number
  readonly pollIntervalMsMax: number
  /** The long block begins when the thread is up: starting it takes time. */
  readonly waits: boolean
}

async function block(broker: FakeBroker, options: BlockOptions): Promise<string[]> {
  const client = new URL('../../../src/client/index.js', import.meta.url).href
  const worker = new Worker(CONSUMER, { eval: true, workerData: { client, url: broker.url, ...options } })
  const told: string[] = []
  worker.on('message', (text: string) => told.push(text))
  const exited = new Promise<void>((resolve, reject) => {
    worker.once('error', reject)
    worker.once('exit', () => resolve())
  })
  if (options.waits) {
    await until(() => broker.groups.extended.length > 0, 30_000)
    worker.postMessage('go')
  }
  await until(() => told.includes('blocked'), 30_000)
  // Sessions end when somebody asks: another member does.
  const other = setInterval(() => broker.groups.sweep('g'), 10)
  try {
    await exited
  } finally {
    clearInterval(other)
  }
  return told
}

async function withRecord(body: (broker: FakeBroker) => Promise<void>): Promise<void> {
  await withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    const { connect } = await import('../../../src/client/index.ts')
    const mq = await connect(broker.url)
    await mq.producer('t').send({ value: 'x' })
    await mq.close()
    await body(broker)
  })
}

test('a handler that blocks its event loop for several sessions keeps its partitions, and commits', () =>
  withRecord(async (broker) => {
    const told = await block(broker, { blockMs: 4_000, pollIntervalMsMax: 60_000, waits: true })
    assert.deepEqual(told, ['blocked', 'committed'])
    assert.ok(broker.groups.extended.length > 3)
    assert.equal(broker.groups.committed('g', 't/0'), 1)
  }))

test('one that blocks it beyond pollIntervalMsMax loses them, and its late commit is fenced', () =>
  withRecord(async (broker) => {
    const told = await block(broker, { blockMs: 4_000, pollIntervalMsMax: 600, waits: false })
    assert.equal(told[0], 'blocked')
    assert.ok(told.includes('UNKNOWN_MEMBER_ID') || told.includes('STALE_MEMBER_EPOCH'), told.join())
    assert.equal(broker.groups.committed('g', 't/0'), -1)
  }))
