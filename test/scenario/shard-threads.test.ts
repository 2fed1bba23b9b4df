/** A shard and its disk thread as they really run: two threads, node:fs, a doorbell. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { encodeControlBody, writeControl } from '../../src/ring/control-codec.ts'
import { ControlOperation } from '../../src/ring/control-messages.ts'
import { claimProduce, ProduceFields } from '../../src/ring/message-codec.ts'
import * as M from '../../src/ring/messages.ts'
import { createSignals, Doorbell } from '../../src/ring/ring-signal.ts'
import { createShardChannel, openGatewaySide } from '../../src/ring/shard-channel.ts'
import { makeBatch, TOPIC, topicConfig } from '../support/log-fixture.ts'

const MIB = 1024 * 1024
const BATCHES = 500

test('on real threads: produce, stop in order, and the files are there', { timeout: 30_000 }, async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'millrace-threads-'))
  mkdirSync(join(dataDir, 'state'))
  const doorbellMemory = createSignals()
  const channel = createShardChannel({
    ...{
      requestRingBytes: MIB,
      readRingBytes: MIB,
      replyRingBytes: 65_536,
      diskRequestRingBytes: 65_536,
      diskReplyRingBytes: 65_536,
    },
    ...{ pageBytes: 65_536, pageCount: 64, doorbell: doorbellMemory },
  })
  const gateway = openGatewaySide(channel)
  const workerData = { channel, options: { shard: 0, incarnation: 1, dataDir, journalBytes: MIB } }
  const threads = ['shard-worker', 'disk-worker'].map(
    (name) => new Worker(new URL(`../../workers/${name}.js`, import.meta.url), { workerData }),
  )
  const exits = threads.map((thread) => new Promise<number>((resolve) => thread.once('exit', resolve)))
  const offsets: number[] = []
  const controls: number[] = []
  let wake = (): void => {}
  const doorbell = new Doorbell(doorbellMemory, () => {
    const { replies } = gateway
    while (replies.next()) {
      const { type, view, at } = replies
      if (type === M.MessageType.PRODUCE_REPLY) offsets.push(view.getFloat64(at + M.PRODUCE_REPLY_BASE_OFFSET_AT, true))
      else if (type === M.MessageType.CONTROL_REPLY) controls.push(view.getInt32(at + M.CONTROL_OPERATION_AT, true))
    }
    if (replies.release()) gateway.shardSignal.ring()
    doorbell.arm()
    wake()
  })
  doorbell.arm()
  const until = async (isTrue: () => boolean): Promise<void> => {
    const keepAlive = setInterval(() => {}, 1000)
    while (!isTrue()) await new Promise<void>((resolve) => (wake = resolve))
    clearInterval(keepAlive)
  }
  const control = (operation: ControlOperation, body: unknown): void => {
    assert.ok(writeControl(gateway.requests, { requestId: 1, operation, body: encodeControlBody(body) }))
    gateway.requests.publish()
    gateway.shardSignal.ring()
  }
  try {
    control(ControlOperation.OPEN_PARTITIONS, {
      partitions: [
        {
          partitionRef: 0,
          topicId: TOPIC,
          partition: 0,
          leaderEpoch: 1,
          config: topicConfig(),
          recovered: null,
          replicas: null,
        },
      ],
    })
    await until(() => controls.length === 1)
    const batch = makeBatch({ valueBytes: 1000 })
    const fields = Object.assign(new ProduceFields(), { acks: M.ACKS_ALL, timeoutMs: 10_000, batchBytes: batch.length })
    for (let count = 0; count < BATCHES; count++) {
      fields.requestId = count + 2
      let at = claimProduce(gateway.requests, fields)
      while (at === -1) {
        gateway.requests.publish()
        gateway.shardSignal.ring()
        await new Promise((resolve) => setImmediate(resolve))
        at = claimProduce(gateway.requests, fields)
      }
      gateway.requests.bytes.set(batch, at)
      gateway.requests.publish()
      gateway.shardSignal.ring()
    }
    await until(() => offsets.length === BATCHES)
    assert.deepEqual(
      offsets,
      Array.from({ length: BATCHES }, (_, index) => index),
    )
    control(ControlOperation.SHUTDOWN, {})
    await until(() => controls.length === 2)
    assert.deepEqual(controls, [0, 0])
    assert.deepEqual(await Promise.all(exits), [0, 0])
    assert.ok(readdirSync(join(dataDir, 'state')).includes('1-0.checkpoint'))
    assert.ok(readdirSync(join(dataDir, `${TOPIC}-0`)).includes('00000000000000000000.log'))
  } finally {
    doorbell.close()
    await Promise.all(threads.map((thread) => thread.terminate()))
    rmSync(dataDir, { recursive: true })
  }
})
