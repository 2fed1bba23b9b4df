/** Whether a request of the controller has written anything. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { outcomeUnknown, RequestWrites } from '../../../../src/coordination/controller/request-writes.ts'
import { MemoryMetadataStore } from '../../../../src/coordination/memory-metadata-store.ts'
import {
  type MetadataStore,
  type StoreOperation,
  StoreOutcomeUnknownError,
  type StoreResult,
} from '../../../../src/coordination/metadata-store.ts'
import { MillraceError } from '../../../../src/model/errors.ts'
import { VirtualTime } from '../../../support/virtual-timers.ts'

const PUT: StoreOperation = { kind: 'put', key: '/a', value: Buffer.from('1') }

function storeThat(transact: () => Promise<StoreResult>): MetadataStore {
  return Object.assign(new MemoryMetadataStore(new VirtualTime()), { transact })
}

test('a write that is applied, or may be, counts; one that was refused, or only asks, does not', async () => {
  const outcomes: [() => Promise<StoreResult>, boolean, readonly StoreOperation[]][] = [
    [async () => ({ applied: true, revision: 2 }), true, [PUT]],
    [async () => ({ applied: false, revision: 2 }), false, [PUT]],
    [async () => ({ applied: true, revision: 2 }), false, []],
    [() => Promise.reject(new MillraceError('BROKER_NOT_AVAILABLE')), false, [PUT]],
    [() => Promise.reject(new StoreOutcomeUnknownError('lost')), true, [PUT]],
  ]
  for (const [transact, mayHaveWritten, operations] of outcomes) {
    const writes = new RequestWrites(storeThat(transact))
    await writes.transact([], operations).catch(() => {})
    assert.equal(await writes.settled(), mayHaveWritten)
  }
})

test('of two writes one fails at once: what becomes of the other is waited for', async () => {
  let apply = (_: StoreResult): void => {}
  const slow = new Promise<StoreResult>((resolve) => {
    apply = resolve
  })
  const outcomes = [() => Promise.reject(new MillraceError('BROKER_NOT_AVAILABLE')), () => slow]
  const writes = new RequestWrites(storeThat(() => outcomes.shift()!()))
  const all = Promise.all([writes.transact([], [PUT]), writes.transact([], [PUT])])
  await assert.rejects(all, { code: 'BROKER_NOT_AVAILABLE' })
  const settled = writes.settled()
  apply({ applied: true, revision: 3 })
  assert.equal(await settled, true)
})

test('the error says that the outcome is not known, and why', () => {
  const error = outcomeUnknown(new MillraceError('NOT_CONTROLLER', 'another one controls'))
  assert.equal(error.code, 'REQUEST_TIMED_OUT')
  assert.match(error.message, /may or may not have happened.*another one controls/)
})
