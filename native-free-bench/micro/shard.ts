/**
 * One shard on real threads, without the gateway's sockets: bytes per second through request ring → check → segment file → device,
 * beside the raw write rate of the same disk in the same run; then a tail reader's latency beside a cold reader.
 *
 *   node dist/native-free-bench/micro/shard.js [--smoke] [--mib 512] [--batch-kib 64] [--partitions 1] [--fsync group|interval] [--cold-mib 0] [--in-flight-kib 4096]
 */
import '../../src/base/node/native-crc32c.ts'
import { closeSync, fdatasyncSync, mkdirSync, mkdtempSync, openSync, rmSync, writevSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { LeaderEpoch, PartitionRef, TopicId } from '../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../src/model/topic-config.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { encodeControlBody, readControlReply, writeControl } from '../../src/ring/control-codec.ts'
import { ControlOperation, type ShardStats } from '../../src/ring/control-messages.ts'
import {
  claimFetch,
  claimProduce,
  FetchFields,
  ProduceFields,
  setFetchPartition,
} from '../../src/ring/message-codec.ts'
import * as M from '../../src/ring/messages.ts'
import { createSignals, Doorbell } from '../../src/ring/ring-signal.ts'
import { createShardChannel, openGatewaySide } from '../../src/ring/shard-channel.ts'
import { benchOptions } from '../harness/options.ts'

const MIB = 1024 * 1024
const options = benchOptions()
const totalBytes = options.number('mib', 512, 16) * MIB
const batchBytes = options.number('batch-kib', 64, 64) * 1024
const partitions = options.number('partitions', 1, 1)
const coldBytes = options.number('cold-mib', 0, 0) * MIB
const fsync = options.text('fsync', 'group') === 'interval' ? 'interval' : 'group'
const inFlightBytesMax = options.number('in-flight-kib', 4096, 4096) * 1024

const folder = mkdtempSync(join(options.text('dir', tmpdir()), 'millrace-shard-'))
mkdirSync(join(folder, 'state'))

function makeBatch(): Uint8Array {
  const writer = new BatchWriter({ initialBytes: batchBytes })
  const value = new Uint8Array(1024).fill(65)
  for (let bytes = 0; bytes + 1100 < batchBytes; bytes += 1040) writer.append(null, value, null, 1_700_000_000_000)
  return writer.finish().slice()
}

/** The same bytes by the same call, without anything else: what the disk gives. */
function rawMibPerSecond(batch: Uint8Array): number {
  const fd = openSync(join(folder, 'raw'), 'w')
  const turn = Math.max(1, Math.floor(MIB / batch.length))
  const buffers = new Array<Uint8Array>(turn).fill(batch)
  const startMs = performance.now()
  let position = 0
  while (position < totalBytes) {
    position += writevSync(fd, buffers, position)
    if (fsync === 'group') fdatasyncSync(fd)
  }
  fdatasyncSync(fd)
  const seconds = (performance.now() - startMs) / 1000
  closeSync(fd)
  rmSync(join(folder, 'raw'))
  return position / MIB / seconds
}

const doorbellMemory = createSignals()
const channel = createShardChannel({
  requestRingBytes: 16 * MIB,
  readRingBytes: MIB,
  replyRingBytes: MIB,
  diskRequestRingBytes: 64 * 1024,
  diskReplyRingBytes: 64 * 1024,
  pageBytes: 64 * 1024,
  pageCount: 1024,
  doorbell: doorbellMemory,
})
const gateway = openGatewaySide(channel)
const workerData = {
  channel,
  options: {
    shard: 0,
    incarnation: 1,
    dataDir: folder,
    statsMs: 60_000,
    drainBytesMax: options.number('drain-kib', 1024, 1024) * 1024,
  },
}
const threads = ['shard-worker', 'disk-worker'].map(
  (name) => new Worker(new URL(`../../workers/${name}.js`, import.meta.url), { workerData }),
)
for (const thread of threads)
  thread.on('error', (error) => {
    throw error
  })

type OnReply = (type: number, view: DataView, at: number) => void
const waiting = new Map<number, OnReply>()
let nextRequestId = 1

function drain(): void {
  const { replies } = gateway
  while (replies.next()) {
    if (replies.type === M.MessageType.NOTICE) continue
    const requestId = replies.view.getUint32(replies.at, true)
    const onReply = waiting.get(requestId)
    waiting.delete(requestId)
    onReply?.(replies.type, replies.view, replies.at)
  }
  if (replies.release()) gateway.shardSignal.ring()
  pump?.()
  doorbell.arm()
}
let pump: (() => void) | undefined
const doorbell = new Doorbell(doorbellMemory, drain)
doorbell.arm()
const keepAlive = setInterval(() => {}, 1000)

function control(operation: ControlOperation, body: unknown): Promise<unknown> {
  return new Promise((resolve) => {
    const requestId = nextRequestId++
    waiting.set(requestId, () => resolve(readControlReply(gateway.replies).body))
    writeControl(gateway.requests, { requestId, operation, body: encodeControlBody(body) })
    gateway.requests.publish()
    gateway.shardSignal.ring()
  })
}

/** Keeps inFlightBytesMax under way until `bytes` are acknowledged. */
function produce(batch: Uint8Array, bytes: number, onAcknowledged?: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let sent = 0
    let acknowledged = 0
    const fields = new ProduceFields()
    const onReply: OnReply = (_type, view, at) => {
      if (view.getInt32(at + M.PRODUCE_REPLY_ERROR_AT, true) !== 0) reject(new Error('a produce was refused'))
      acknowledged += batch.length
      onAcknowledged?.()
      if (acknowledged >= bytes) {
        pump = undefined
        resolve()
      }
    }
    pump = () => {
      let claimed = false
      while (sent < bytes && sent - acknowledged < inFlightBytesMax) {
        fields.requestId = nextRequestId
        fields.partitionRef = nextRequestId % partitions
        fields.acks = M.ACKS_ALL
        fields.timeoutMs = 30_000
        fields.batchBytes = batch.length
        const at = claimProduce(gateway.requests, fields)
        if (at === -1) break
        gateway.requests.bytes.set(batch, at)
        waiting.set(nextRequestId++, onReply)
        sent += batch.length
        claimed = true
      }
      if (!claimed) return
      gateway.requests.publish()
      gateway.shardSignal.ring()
    }
    pump()
  })
}

/** One fetch; answers where the next begins and how many bytes came. */
function fetch(offset: number, maxBytes: number): Promise<{ nextOffset: number; bytes: number }> {
  return new Promise((resolve) => {
    const fields = new FetchFields()
    const requestId = nextRequestId++
    Object.assign(fields, { requestId, waitMs: 1000, minBytes: 1, maxBytes, partitionCount: 1 })
    const at = claimFetch(gateway.reads, fields)
    setFetchPartition(gateway.reads.view, at, 0, {
      partitionRef: 0,
      leaderEpoch: -1,
      fetchOffset: offset,
      maxBytes,
      lastEpoch: -1,
    })
    waiting.set(requestId, (_type, view, replyAt) => resolve(readReply(view, replyAt, offset)))
    gateway.reads.publish()
    gateway.shardSignal.ring()
  })
}

const recordsPerBatch = { count: 0 }

function readReply(view: DataView, at: number, offset: number): { nextOffset: number; bytes: number } {
  if (view.getUint32(at + M.FETCH_REPLY_PARTITION_COUNT_AT, true) === 0) return { nextOffset: offset, bytes: 0 }
  const line = at + M.FETCH_REPLY_PARTITIONS_AT
  const bytes = view.getUint32(line + M.FETCH_REPLY_PARTITION_BATCH_BYTES_AT, true)
  const fragments = view.getUint32(line + M.FETCH_REPLY_PARTITION_FRAGMENTS_AT, true)
  let fragmentAt = line + M.FETCH_REPLY_PARTITION_BYTES
  for (let left = fragments; left > 0; left--, fragmentAt += M.FRAGMENT_BYTES)
    gateway.pages.release(view.getUint32(fragmentAt + M.FRAGMENT_PAGE_AT, true))
  return { nextOffset: offset + Math.round(bytes / batch.length) * recordsPerBatch.count, bytes }
}

const batch = makeBatch()
recordsPerBatch.count = new DataView(batch.buffer, batch.byteOffset).getInt32(57)
const config = { ...TOPIC_CONFIG_DEFAULTS, fsync, maxMessageBytes: 4 * MIB }
const opening = Array.from({ length: partitions }, (_, partition) => ({
  ...{ partitionRef: partition as PartitionRef, topicId: 'ab'.repeat(16) as TopicId, partition },
  ...{ leaderEpoch: 1 as LeaderEpoch, config, recovered: null, replicas: null },
}))
await control(ControlOperation.OPEN_PARTITIONS, { partitions: opening })
await produce(batch, 64 * MIB)

const raw = rawMibPerSecond(batch)
const before = (await control(ControlOperation.STATS, {})) as ShardStats
const startMs = performance.now()
await produce(batch, totalBytes)
const stats = (await control(ControlOperation.STATS, {})) as ShardStats
const syncs = stats.syncs - before.syncs
const syncMs = (stats.syncMicroseconds - before.syncMicroseconds) / 1000
const busyMs = (stats.busyMicroseconds - before.busyMicroseconds) / 1000
const producedMs = performance.now() - startMs
const rate = totalBytes / MIB / (producedMs / 1000)
const rawAfter = rawMibPerSecond(batch)
process.stdout.write(
  `produce ${fsync}, ${partitions} partitions, batches of ${batchBytes / 1024} KiB: ${rate.toFixed(0)} MiB/s; raw ${raw.toFixed(0)} and ${rawAfter.toFixed(0)} MiB/s; ratio ${(rate / ((raw + rawAfter) / 2)).toFixed(2)}\n` +
    `  ${producedMs.toFixed(0)} ms: shard busy ${busyMs.toFixed(0)}, ${syncs} syncs took ${syncMs.toFixed(0)}; ${stats.turns - before.turns} turns\n`,
)

if (coldBytes > 0) await tailBesideCold()

/** A reader at the tail (offsets as they are acknowledged) while another reads from the start and a producer runs on. */
async function tailBesideCold(): Promise<void> {
  const latencies: number[] = []
  let isOver = false
  let tailOffset = Math.floor((64 * MIB + totalBytes) / batch.length / partitions) * recordsPerBatch.count
  const cold = (async () => {
    let offset = 0
    let bytes = 0
    const beganMs = performance.now()
    while (!isOver) {
      const read = await fetch(offset, MIB)
      bytes += read.bytes
      offset = read.bytes === 0 ? 0 : read.nextOffset
    }
    return bytes / MIB / ((performance.now() - beganMs) / 1000)
  })()
  const tail = (async () => {
    while (!isOver) {
      const beganMs = performance.now()
      const read = await fetch(tailOffset - recordsPerBatch.count, batch.length)
      latencies.push(performance.now() - beganMs)
      if (read.bytes > 0) tailOffset = Math.max(tailOffset, read.nextOffset)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  })()
  await produce(batch, coldBytes, () => {
    tailOffset += recordsPerBatch.count / partitions
  })
  isOver = true
  const coldRate = await cold
  await tail
  latencies.sort((left, right) => left - right)
  const at = (quantile: number) => latencies[Math.floor((latencies.length - 1) * quantile)]!.toFixed(2)
  process.stdout.write(
    `tail reads beside a cold reader (${coldRate.toFixed(0)} MiB/s) and a producer: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms of ${latencies.length}\n`,
  )
}

await control(ControlOperation.SHUTDOWN, {})
clearInterval(keepAlive)
doorbell.close()
await Promise.all(threads.map((thread) => new Promise((resolve) => thread.once('exit', resolve))))
rmSync(folder, { recursive: true })
