/**
 * Handlers that block their event loop, against a real broker: one keeps its partitions for longer than two sessions, since a thread
 * beside it extends them; one that hangs beyond pollIntervalMsMax loses them, and its late commit is refused.
 *
 * Time  nothing is expected sooner than a machine can do it: a member blocks until this test says so, and what is waited for has
 *       minutes. The session leaves seconds between the first heartbeat that is missed and its end.
 *       --blocked-seconds 20 blocks for so long under the client's own session of 10 s
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { type Client, connect } from '../../src/client/index.ts'
import * as protocol from '../../src/protocol/index.ts'
import type { BlockingMemberOptions, MemberEvent } from '../support/blocking-member.ts'
import { environmentNumber } from '../support/budget.ts'
import { hasCode } from '../support/expect.ts'
import { BareClient } from '../support/gateway-fixture.ts'
import { repositoryRoot } from '../support/repository.ts'
import { withTestBroker } from '../support/test-broker.ts'
import { sleep, until } from '../support/until.ts'

const WAIT_MS = 120_000
const BLOCKED_SECONDS = environmentNumber('MILLRACE_BLOCKED_SECONDS', 0)
const SESSION_MS = BLOCKED_SECONDS > 0 ? 10_000 : 8_000
const BLOCKED_MS = Math.max(BLOCKED_SECONDS * 1000, 2 * SESSION_MS + 500)
const MEMBER = join(repositoryRoot, 'dist', 'test', 'support', 'blocking-member.js')
const FENCED = ['UNKNOWN_MEMBER_ID', 'FENCED_MEMBER_EPOCH', 'STALE_MEMBER_EPOCH']

class MemberProcess {
  readonly events: MemberEvent[] = []
  readonly exited: Promise<number | null>
  readonly #process: ChildProcess

  constructor(options: BlockingMemberOptions) {
    this.#process = spawn(process.execPath, [MEMBER, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.exited = new Promise((resolve) => this.#process.once('exit', (code) => resolve(code)))
    createInterface({ input: this.#process.stdout! }).on('line', (line) => {
      this.events.push(JSON.parse(line) as MemberEvent)
    })
  }

  of<Kind extends MemberEvent['kind']>(kind: Kind): Extract<MemberEvent, { readonly kind: Kind }>[] {
    return this.events.filter((event): event is Extract<MemberEvent, { readonly kind: Kind }> => event.kind === kind)
  }

  get partitions(): readonly number[] {
    return this.of('assignment').at(-1)?.partitions ?? []
  }

  has(kind: MemberEvent['kind']): boolean {
    return this.of(kind).length > 0
  }

  stop(): Promise<number | null> {
    this.#process.kill('SIGTERM')
    return this.exited
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}

interface Blocked {
  readonly mq: Client
  readonly url: string
  readonly groupId: string
  /** Its handler is at work on the record at offset 0 of `partition`. */
  readonly blocking: MemberProcess
  readonly partition: number
  /** The other member, which has the other partition. */
  readonly watching: MemberProcess
  unblock(): void
}

async function whileBlocked(
  groupId: string,
  pollIntervalMsMax: number,
  body: (blocked: Blocked) => Promise<void>,
): Promise<void> {
  await withTestBroker({}, async ({ url }, dataDir) => {
    const mq = await connect(url)
    const topic = 't'
    await mq.admin.topics.create(topic, { partitions: 2 })
    const file = join(dataDir, 'unblocked')
    const member = { url, groupId, topic, pollIntervalMsMax, sessionTimeoutMs: SESSION_MS }
    const members = [new MemberProcess({ ...member, blocksUntilFile: file })]
    try {
      const [blocking] = members as [MemberProcess]
      await until('member with both partitions', WAIT_MS, () => blocking.partitions.length === 2)
      const watching = new MemberProcess({ ...member, blocksUntilFile: '' })
      members.push(watching)
      await until('partition each', WAIT_MS, () =>
        [blocking, watching].every(({ partitions }) => partitions.length === 1),
      )
      const partition = blocking.partitions[0]!
      await mq.producer(topic).send({ value: 'v', partition })
      await until('blocked handler', WAIT_MS, () => blocking.has('record'))
      await body({ mq, url, groupId, blocking, partition, watching, unblock: () => writeFileSync(file, '') })
    } finally {
      for (const each of members) each.kill()
      await mq.close()
    }
  })
}

test('a handler that blocks its event loop for two sessions keeps its partitions, and commits', () =>
  whileBlocked('blocked', 600_000, async ({ mq, groupId, blocking, partition, watching, unblock }) => {
    await sleep(BLOCKED_MS)
    unblock()
    await until('outcome of the commit', WAIT_MS, () => blocking.has('committed') || blocking.has('refused'))
    assert.deepEqual(blocking.of('refused'), [])
    assert.ok(blocking.of('unblocked')[0]!.blockedMs >= 2 * SESSION_MS)
    // It leaves only when it is told to: until now the partition was nobody else's.
    assert.ok(!watching.of('assignment').some(({ partitions }) => partitions.includes(partition)))
    assert.deepEqual(blocking.partitions, [partition], 'it has lost nothing')
    const offsets = await mq.admin.groups.offsets(groupId)
    assert.deepEqual(
      offsets.map((each) => [each.partition, each.offset]),
      [[partition, 1]],
    )
    assert.deepEqual(await Promise.all([blocking.stop(), watching.stop()]), [0, 0])
  }))

test('one that hangs beyond pollIntervalMsMax loses them, and its late commit is refused', () =>
  whileBlocked('hung', 2_000, async ({ mq, url, groupId, blocking, partition, watching, unblock }) => {
    const { members } = await mq.admin.groups.describe(groupId)
    const { memberId, memberEpoch } = members.find(({ assignment }) => assignment[0]?.partition === partition)!
    await until('record with its next owner', WAIT_MS, () =>
      watching.of('record').some((each) => each.partition === partition),
    )
    assert.ok(!blocking.has('unblocked'), 'it hangs still')
    // What the broker says to a commit of the member as it was.
    const client = await BareClient.hello(url)
    const late = client.call(protocol.offsetCommit, {
      ...{ groupId, memberId, memberEpoch, instanceId: null },
      topics: [{ topicId: '', topic: 't', partitions: [{ partition, offset: 1, leaderEpoch: -1, metadata: '' }] }],
    })
    await assert.rejects(late, hasCode('UNKNOWN_MEMBER_ID'))
    unblock()
    await until('outcome of the commit', WAIT_MS, () => blocking.has('committed') || blocking.has('refused'))
    assert.deepEqual(blocking.of('committed'), [])
    const [refused] = blocking.of('refused')
    assert.ok(FENCED.includes(refused!.code), refused!.code)
    assert.deepEqual(await mq.admin.groups.offsets(groupId), [], 'nothing was committed')
    assert.deepEqual(await Promise.all([blocking.stop(), watching.stop()]), [0, 0])
  }))
