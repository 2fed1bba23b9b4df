/** The parts of the chaos suite that judge: they find what they are there for. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { TopicId } from '../../../src/model/ids.ts'
import { AckTimes } from '../../support/chaos/ack-times.ts'
import { compareReplicas } from '../../support/chaos/replica-comparison.ts'
import { buildClockShim } from '../../support/clock-shim/clock-shim.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-chaos-parts-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const TOPIC_ID = '0'.repeat(31).padEnd(32, '1') as TopicId
const HEADER_BYTES = 61

/** Something with the length and the offsets of a batch. */
function batch(baseOffset: number, records: number, fill: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + records, fill)
  bytes.writeBigInt64BE(BigInt(baseOffset), 0)
  bytes.writeInt32BE(bytes.length - 12, 8)
  bytes.writeInt32BE(records - 1, 23)
  return bytes
}

/** A data dir with one partition: segments by base offset. */
function replica(name: string, segments: Readonly<Record<number, readonly Buffer[]>>): string {
  const dataDir = join(folder, name)
  mkdirSync(join(dataDir, `${TOPIC_ID}-0`), { recursive: true })
  for (const [base, batches] of Object.entries(segments))
    writeFileSync(join(dataDir, `${TOPIC_ID}-0`, `${base.padStart(20, '0')}.log`), Buffer.concat(batches))
  return dataDir
}

const compare = (dataDirs: readonly string[], highWatermark: number) =>
  compareReplicas(dataDirs, { topicId: TOPIC_ID, partition: 0, highWatermark })

test('replicas with other segments and other tails are the same below the high watermark', () => {
  const [first, second, tail] = [batch(0, 3, 1), batch(3, 2, 2), batch(5, 4, 3)]
  const one = replica('one', { 0: [first, second, tail] })
  const two = replica('two', { 0: [first], 3: [second] })
  assert.deepEqual(compare([one, two], 5), { partition: 0, bytes: first.length + second.length, nextOffset: 5 })
  assert.throws(() => compare([one, two], 9), /ends at 5, not 9/)
})

test('one byte that differs below the high watermark is found, and none above it', () => {
  const one = replica('three', { 0: [batch(0, 3, 1), batch(3, 2, 2)] })
  const other = replica('four', { 0: [batch(0, 3, 1), batch(3, 2, 9)] })
  assert.throws(() => compare([one, other], 5), /partition 0 differs below 5/)
  assert.equal(compare([one, other], 3).nextOffset, 3)
})

test('a replica that is not there is found', () => {
  assert.throws(() => compare([replica('five', { 0: [] }), join(folder, 'nowhere')], 0), /has no /)
})

test('acknowledgements: how many in a time, the longest time without, the first of what was sent later', () => {
  let nowMs = 0
  const acks = new AckTimes(() => nowMs)
  for (const [sentMs, ackedMs, partition] of [
    [0, 10, 0],
    [15, 20, 1],
    [5, 60, 0],
    [55, 70, 1],
  ] as const) {
    nowMs = ackedMs
    acks.add(sentMs, partition)
  }
  assert.equal(acks.count({ fromMs: 10, toMs: 60 }), 3)
  assert.equal(acks.count({ fromMs: 10, toMs: 60 }, true), 1, 'sent in it too')
  assert.equal(acks.longestGapMs({ fromMs: 0, toMs: 75 }), 40)
  assert.equal(acks.longestGapMs({ fromMs: 0, toMs: 75 }, 1), 50)
  assert.equal(acks.longestGapMs({ fromMs: 70, toMs: 200 }), 130, 'none since')
  assert.equal(acks.firstAfter(12, 1), 8)
  assert.equal(acks.firstAfter(12, 0), undefined, 'sent before')
})

test('the wall clock of a process is moved, and its monotonic clock is not', (context) => {
  const shim = buildClockShim()
  if (shim.kind === 'unavailable') return context.skip(shim.reason)
  try {
    shim.set('c', -86_400)
    const script = 'console.log(JSON.stringify([Date.now(), Number(process.hrtime.bigint() / 1000000n)]))'
    const env = { ...process.env, ...shim.envFor('c') }
    const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000_000n)
    const beforeMs = [Date.now(), monotonicMs()] as const
    const run = spawnSync(process.execPath, ['-e', script], { env, encoding: 'utf8' })
    const [wallMs, ownMs] = JSON.parse(run.stdout) as [number, number]
    assert.ok(Math.abs(wallMs + 86_400_000 - beforeMs[0]) < 60_000, `${wallMs}`)
    assert.ok(ownMs >= beforeMs[1] && ownMs <= monotonicMs())
  } finally {
    shim.dispose()
  }
})
