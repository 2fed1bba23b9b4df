/** CoordinatorHost with a kind of the test's own: a decision in the midst of which its partition goes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OpenTransactions } from '../../../src/log/open-transactions.ts'
import type { LeaderEpoch, Offset, PartitionRef } from '../../../src/model/ids.ts'
import { refuse } from '../../../src/model/refusal.ts'
import { leaderState } from '../../../src/partition/partition-state.ts'
import {
  CoordinatorHost,
  type CoordinatorHostOptions,
  type CoordinatorKind,
  type CoordinatorRequest,
  WAITING_MAX,
} from '../../../src/worker/coordinator-host.ts'
import type { PartitionAgent } from '../../../src/worker/partition-agent.ts'
import { ManualClock, TOPIC, topicConfig } from '../../support/log-fixture.ts'

const REF = 0 as PartitionRef
const COORDINATOR = { replay: () => ({ kind: 'applied' }), onLoaded: () => {} }

interface Body {
  readonly partitionRef: number
  readonly header: Uint8Array
  readonly takesOffline: boolean
}

class Fixture implements CoordinatorKind<typeof COORDINATOR, Body, never> {
  readonly subject = 'tests'
  readonly tooLarge = ''
  readonly reloads = false
  readonly told: [number, string][] = []
  readonly decided: number[] = []
  /** Requests wait for others. */
  keeps = false
  mayBeLedElsewhere = false
  readonly partition: PartitionAgent
  readonly host: CoordinatorHost<typeof COORDINATOR, Body>

  constructor() {
    const partition = { state: leaderOfNothing(), log: { logEndOffset: 0 }, ...{ topicId: TOPIC, partition: 0 } }
    this.partition = partition as unknown as PartitionAgent
    const fail = (requestId: number, error: string): void => void this.told.push([requestId, error])
    const options = {
      ...{ partitions: { get: () => this.partition }, replies: { fail }, clock: new ManualClock() },
      mayBeLedElsewhere: () => this.mayBeLedElsewhere,
    }
    this.host = new CoordinatorHost(options as unknown as CoordinatorHostOptions, this)
  }

  ask(requestId: number, takesOffline = false): void {
    this.host.onRequest(requestId, { partitionRef: REF, header: Uint8Array.of(1), takesOffline })
  }

  turn(): void {
    this.host.step(0)
    this.host.flush()
  }

  // CoordinatorKind

  make = () => COORDINATOR
  nextDeadlineMs = () => Number.POSITIVE_INFINITY
  doDue = () => 0
  onDurable = () => {}
  onDropped = () => {}

  decide(_hosted: unknown, { requestId, body }: CoordinatorRequest<Body>) {
    this.decided.push(requestId)
    if (body.takesOffline) this.host.forget(this.partition)
    if (this.keeps) return { records: [], reply: undefined }
    return { records: [], reply: body.takesOffline ? refuse('KAFKA_STORAGE_ERROR') : OK }
  }

  answer(requestId: number): void {
    this.told.push([requestId, 'NONE'])
  }
}

const OK = { kind: 'reply', header: Uint8Array.of(2) } as const

/** Of an empty partition. */
function leaderOfNothing() {
  const [leaderEpoch, offset] = [0 as LeaderEpoch, 0 as Offset]
  return leaderState({
    ...{ partitionRef: REF, config: topicConfig(), leaderEpoch, logStartOffset: offset, logEndOffset: offset },
    transactions: new OpenTransactions(),
  })
}

test('a decision that takes its own partition offline is answered, and so is what was decided before it', () => {
  const fixture = new Fixture()
  fixture.ask(1)
  fixture.turn()
  assert.deepEqual(fixture.told, [[1, 'NONE']])
  fixture.ask(2)
  fixture.ask(3, true)
  assert.deepEqual(fixture.told.slice(1), [
    [2, 'NOT_COORDINATOR'],
    [3, 'COORDINATOR_NOT_AVAILABLE'],
  ])
  fixture.turn()
  assert.equal(fixture.told.length, 3, 'and once')
})

test('of requests that waited for it to load those behind such a one are answered, undecided', () => {
  const fixture = new Fixture()
  for (const requestId of [1, 2, 3]) fixture.ask(requestId, requestId === 2)
  fixture.turn()
  assert.deepEqual(fixture.decided, [1, 2])
  assert.deepEqual(fixture.told, [
    [1, 'NOT_COORDINATOR'],
    [2, 'COORDINATOR_NOT_AVAILABLE'],
    [3, 'COORDINATOR_NOT_AVAILABLE'],
  ])
})

test('a partition that may be led elsewhere coordinates nothing until it is known to be led here', () => {
  const fixture = new Fixture()
  fixture.ask(1)
  fixture.turn()
  fixture.mayBeLedElsewhere = true
  fixture.ask(2)
  fixture.turn()
  fixture.mayBeLedElsewhere = false
  fixture.ask(3)
  fixture.turn()
  assert.deepEqual(fixture.decided, [1, 3])
  assert.deepEqual(fixture.told, [
    [1, 'NONE'],
    [2, 'NOT_COORDINATOR'],
    [3, 'NONE'],
  ])
})

test('so many requests wait for their turn, and no more; those that the kind keeps do not count', () => {
  const fixture = new Fixture()
  fixture.ask(1)
  fixture.turn()
  fixture.keeps = true
  for (let requestId = 2; requestId <= WAITING_MAX + 1; requestId++) fixture.ask(requestId)
  fixture.turn()
  fixture.keeps = false
  fixture.ask(WAITING_MAX + 2)
  fixture.turn()
  assert.deepEqual(fixture.told.slice(1), [[WAITING_MAX + 2, 'NONE']])
  for (let requestId = 0; requestId <= WAITING_MAX; requestId++) fixture.ask(requestId)
  assert.deepEqual(fixture.told.slice(2), [[WAITING_MAX, 'OVERLOADED']])
})
