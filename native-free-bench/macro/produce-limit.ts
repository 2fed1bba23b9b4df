/**
 * Produce 1 KiB beside the limit of the same run: one producer process, profile throughput, acks=all. The limit is the slower of
 * a plain Node loop that writes the same bytes to the same disk in 1 MiB writes, synced as the mode does (second pass), and the
 * client library's socket sending the same bytes in 64 KiB frames to a plain `ws` sink. Limit and product take turns.
 *
 *   node dist/native-free-bench/macro/produce-limit.js [--smoke] [--pairs 5] [--mib 2048] [--size 1024] [--fsync interval,group] [--json]
 */
import { benchProduce } from '../../src/cli/bench/run-bench.ts'
import { type Fsync, withBroker } from '../harness/bench-broker.ts'
import { benchOptions } from '../harness/options.ts'
import { rawWriteMibPerSec } from '../harness/raw-limits.ts'
import { Report } from '../harness/report.ts'
import { socketLimit } from '../harness/socket-limit.ts'

const options = benchOptions()
const report = new Report('macro/produce-limit', options)
const pairs = options.number('pairs', 5, 1)
const bytes = options.number('mib', 2048, 16) * 2 ** 20
const recordBytes = options.number('size', 1024, 1024)

async function measure(fsync: Fsync): Promise<void> {
  const [ratios, rates, disks, sockets]: number[][] = [[], [], [], []]
  const plan = {
    ...({ kind: 'produce', api: 'enqueue', recordBytes, profile: 'throughput', seconds: undefined } as const),
    ...{ ratePerSec: undefined, producers: 1, partitions: options.number('partitions', 6, 6) },
  }
  await withBroker({ profile: 'throughput', fsync }, async (target, broker) => {
    await benchProduce(target, { ...plan, records: 20_000 })
    for (let pair = 0; pair < pairs; pair++) {
      const disk = rawWriteMibPerSec(broker.dataDir, bytes, fsync)
      const socket = (await socketLimit(bytes)).mibPerSec
      const result = await benchProduce(target, { ...plan, records: Math.round(bytes / recordBytes) })
      report.result(`produce ${recordBytes} B, ${fsync}`, result)
      disks!.push(disk)
      sockets!.push(socket)
      rates!.push(result.recordsPerSec / 1000)
      ratios!.push(result.mibPerSec / Math.min(disk, socket))
    }
  })
  const higher = (unit: string, digits = 0) => ({ unit, better: 'higher', digits }) as const
  report.figure(`${fsync}: ratio to the limit of the run`, ratios!, higher('', 2))
  report.figure(`${fsync}: records`, rates!, higher('k/s'))
  report.figure(`${fsync}: limit (a), 1 MiB writes to the same disk`, disks!, higher('MiB/s'))
  report.figure(`${fsync}: limit (b), 64 KiB frames to a ws sink`, sockets!, higher('MiB/s'))
}

for (const fsync of options.text('fsync', 'interval,group').split(',')) await measure(fsync as Fsync)
