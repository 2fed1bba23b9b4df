/** Signals: whoever waits is told, nobody is forgotten, and a signal that many wait for has one listener. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { abortable, sleep, whenAborted } from '../../../src/client/abort.ts'
import { connect } from '../../../src/client/index.ts'
import { nodeRuntime } from '../../../src/client/node-runtime.ts'
import { hasCode } from '../../support/expect.ts'
import { withFakeBroker } from '../../support/fake-broker.ts'

const runtime = nodeRuntime()
const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length

test('many waits for one signal: one listener, and all are told, in order', async () => {
  const controller = new AbortController()
  const { signal } = controller
  const told: number[] = []
  const offs = [0, 1, 2, 3].map((number) => whenAborted(signal, () => told.push(number)))
  const waits = Array.from({ length: 50 }, () => abortable(new Promise(() => {}), signal))
  const asleep = sleep(runtime, 60_000, signal, undefined)
  assert.equal(listeners(signal), 1)
  offs[1]!()
  controller.abort(new Error('enough'))
  for (const wait of [...waits, asleep])
    await assert.rejects(
      wait,
      (error: Error) => hasCode('ABORTED')(error) && (error.cause as Error).message === 'enough',
    )
  assert.deepEqual(told, [0, 2, 3])
  assert.equal(listeners(signal), 0)
})

test('waits that end by themselves leave nothing behind', async () => {
  const { signal } = new AbortController()
  await Promise.all([abortable(Promise.resolve(1), signal), sleep(runtime, 1, signal)])
  await assert.rejects(abortable(Promise.reject(new Error('no')), signal), /no/)
  const same = (): void => {}
  const offs = [whenAborted(signal, same), whenAborted(signal, same)]
  offs[0]!()
  offs[0]!()
  assert.equal(listeners(signal), 1)
  offs[1]!()
  assert.equal(listeners(signal), 0)
  whenAborted(signal, same)()
  assert.equal(listeners(signal), 0)
})

test('a signal that has fired: nothing is waited for', async () => {
  const signal = AbortSignal.abort()
  await assert.rejects(abortable(new Promise(() => {}), signal), hasCode('ABORTED'))
  await assert.rejects(sleep(runtime, 60_000, signal), hasCode('ABORTED'))
  whenAborted(signal, () => assert.fail('it has fired before'))()
  whenAborted(undefined, () => assert.fail('there is none'))()
})

test('one signal for many consumers, groups, sends and listeners', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const controller = new AbortController()
    const { signal } = controller
    const producer = mq.producer('t', { lingerMs: 60_000 })
    await producer.ready()
    const sends = Array.from({ length: 15 }, () => producer.send({ value: 'x' }, { signal }))
    for (let index = 0; index < 15; index++) {
      mq.consume('t', { signal })
      mq.group(`g${index}`, 't', { signal })
      producer.on('batchStored', () => assert.fail('it lingers'), { signal })
    }
    assert.equal(listeners(signal), 1)
    controller.abort()
    for (const send of sends) await assert.rejects(send, hasCode('ABORTED'))
    producer.abort()
  }))
