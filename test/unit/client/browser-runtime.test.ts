/** What the client takes from a browser. (A whole browser: test/integration/browser.test.ts.) */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { browserRuntime } from '../../../src/client/browser-runtime.ts'
import { type Codecs, requireCodec } from '../../../src/record/compression.ts'
import { hasCode } from '../../support/expect.ts'

test('a page hands its codecs in; without them compressed batches are refused by name', () => {
  const same = (bytes: Uint8Array): Uint8Array => bytes
  const codecs: Codecs = { find: (name) => (name === 'gzip' ? { compress: same, decompress: same } : undefined) }
  assert.equal(requireCodec(browserRuntime(codecs).codecs, 1).compress, same)
  assert.throws(
    () => requireCodec(browserRuntime().codecs, 1),
    hasCode('UNSUPPORTED_COMPRESSION_TYPE', /no codec for gzip/),
  )
})

test('clock, chance and timers are the platform’s', async () => {
  const { clock, prng, startTimer } = browserRuntime()
  assert.ok(Math.abs(clock.nowMs() - Date.now()) < 60_000)
  assert.notEqual(prng.unit(), browserRuntime().prng.unit())
  const beforeMs = clock.monotonicMs()
  await new Promise<void>((resolve) => startTimer(5, resolve))
  assert.ok(clock.monotonicMs() > beforeMs)
  startTimer(0, () => assert.fail('a cancelled timer ran')).cancel()
})
