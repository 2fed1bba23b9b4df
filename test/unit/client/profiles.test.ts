/** A client's profile: what producers and consumers that say nothing else are tuned for. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CLIENT_PROFILE_NAMES } from '../../../src/client/client-options.ts'
import { CLIENT_PROFILES } from '../../../src/client/client-profiles.ts'
import { resolveConsumerOptions } from '../../../src/client/consumer-options.ts'
import { type ClientOptions, connect } from '../../../src/client/index.ts'
import { resolveProducerOptions } from '../../../src/client/producer-options.ts'
import { PROFILE_NAMES } from '../../../src/config/profiles.ts'
import { hasCode } from '../../support/expect.ts'
import { withFakeBroker } from '../../support/fake-broker.ts'

/** Batches of 480 KiB in one go, and the bytes of the first fetch of them. */
async function sizes(url: string, options: ClientOptions, batchBytesMax?: number): Promise<[number, number]> {
  await using mq = await connect(url, options)
  const producer = mq.producer('t', batchBytesMax === undefined ? {} : { batchBytesMax })
  await producer.ready()
  for (let round = 0; round < 4; round++) {
    for (let index = 0; index < 480; index++) assert.ok(producer.enqueue({ value: 'x'.repeat(1_000) }))
    await producer.drain()
  }
  const batches = mq.consume('t', { from: 'start' }).batches()
  const first = (await batches.next()).value
  const stats = producer.stats()
  await batches.return?.()
  return [stats.batchesStored / 4, first.bytes.length]
}

test('connect() takes a profile for what its producers and consumers do not say themselves', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    const [balancedBatches, balancedBytes] = await sizes(broker.url, {})
    assert.equal(balancedBatches, 2)
    assert.ok(balancedBytes <= 2 ** 20)
    const [batches, bytes] = await sizes(broker.url, { profile: 'throughput' })
    assert.equal(batches, 1)
    assert.ok(bytes > 2 ** 20, `${bytes} bytes`)
    assert.equal((await sizes(broker.url, { profile: 'throughput' }, 256 * 1024))[0], 2, 'its own option wins')
    const wrong = { profile: 'fast' as 'latency' }
    await assert.rejects(
      async () => connect(broker.url, wrong),
      hasCode('INVALID_ARGUMENT', /balanced, throughput, latency/),
    )
  }))

test('profiles are those of the broker, and change speed, never safety', () => {
  assert.deepEqual([...CLIENT_PROFILE_NAMES], [...PROFILE_NAMES])
  const safety = (name: (typeof CLIENT_PROFILE_NAMES)[number]): unknown[] => {
    const producer = resolveProducerOptions(CLIENT_PROFILES[name].producer)
    const consumer = resolveConsumerOptions(CLIENT_PROFILES[name].consumer)
    const { acks, idempotent, retriesMax, deliveryTimeoutMs, inFlightMax } = producer
    return [acks, idempotent, retriesMax, deliveryTimeoutMs, inFlightMax, consumer.checkCrc, consumer.onOutOfRange]
  }
  for (const name of CLIENT_PROFILE_NAMES) assert.deepEqual(safety(name), safety('balanced'))
})
