/**
 * Frames of the wire protocol: a produce request with its header packed, and the same parsed and unpacked; the body, 256 KiB, is
 * only pointed at, as in the client and the gateway.
 *
 *   node dist/native-free-bench/micro/frame.js [--smoke] [--runs 5] [--json]
 */
import type { TopicId } from '../../src/model/ids.ts'
import { decodeFrame, encodeFrame, PROLOGUE_BYTES, produce, writePrologue } from '../../src/protocol/index.ts'
import { runMicro } from '../harness/micro.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const OPERATIONS = 100
const BODY_BYTES = 256 * 1024
const TOPIC = '0123456789abcdef0123456789abcdef' as TopicId

const tasks = [1, 6].flatMap((count) => {
  const parts = Array.from({ length: count }, (_, partition) => ({
    ...{ topicId: TOPIC, partition, leaderEpoch: 3, batchBytes: Math.floor(BODY_BYTES / count) },
  }))
  const request = { acks: -1, timeoutMs: 30_000, parts } as const
  const head = new Uint8Array(PROLOGUE_BYTES)
  const prologue = { api: produce.api, isReply: false, correlationId: 7 }
  const frame = encodeFrame(prologue, produce.encodeRequest(request), [new Uint8Array(BODY_BYTES)])
  const encode = (): void => {
    for (let index = 0; index < OPERATIONS; index++) {
      const header = produce.encodeRequest(request)
      writePrologue(head, 0, prologue, header.length)
    }
  }
  const decode = (): void => {
    for (let index = 0; index < OPERATIONS; index++) {
      const decoded = decodeFrame(frame)
      if (decoded.kind !== 'frame') throw new Error('the frame is not sound')
      if (produce.decodeRequest(decoded.frame.header).parts.length !== count) throw new Error('parts are missing')
    }
  }
  const common = { operations: OPERATIONS, bytes: 0 }
  return [
    { ...common, name: `encode a produce request, ${count} partitions`, run: encode },
    { ...common, name: `parse it, ${count} partitions`, run: decode },
  ]
})
await runMicro(new Report('micro/frame', options), options, tasks)
