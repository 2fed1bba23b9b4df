/**
 * Throughput of one producer and one consumer process against a broker process: 1 KiB and 100 B, both fsync policies, with the
 * broker's CPU per million records and the raw write rate of the same disk in the same run.
 *
 *   node dist/native-free-bench/macro/throughput.js [--smoke] [--runs 5] [--records N] [--size 1024] [--fsync group|interval] [--json] [--cpu-prof DIR]
 */
import '../../src/base/node/native-crc32c.ts'
import { connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../../test/support/broker-process.ts'
import { benchOptions } from '../harness/options.ts'
import { rawWriteMibPerSec } from '../harness/raw-limits.ts'
import { spreadOf, spreadText } from '../harness/statistics.ts'
import { type BenchResult, consumeRecords, produceRecords } from '../harness/workload.ts'

const options = benchOptions()
const runs = options.number('runs', 5, 1)
const sizes = options.text('size', '1024,100').split(',').map(Number)
const policies = options.text('fsync', 'group,interval').split(',') as ('group' | 'interval')[]
const profileFolder = options.text('cpu-prof', '')

interface Run {
  produce: BenchResult
  consume: BenchResult
  produceCpu: number
  consumeCpu: number
  rawMibPerSec: number
  clientCpu: number
}

async function oneRun(size: number, fsync: 'group' | 'interval', records: number): Promise<Run> {
  const nodeArgs = profileFolder === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`]
  const broker = await BrokerProcess.start({
    dataDir: makeDataDir(),
    args: ['--set', `storage.fsync=${fsync}`],
    nodeArgs,
  })
  try {
    const client = await connect(broker.url)
    await client.admin.topics.create('bench', { partitions: options.number('partitions', 6, 6) })
    await produceRecords(client, { topic: 'bench', records: Math.min(records, 20_000), recordBytes: size })
    await client.admin.topics.delete('bench')
    await client.admin.topics.create('bench', { partitions: options.number('partitions', 6, 6) })
    const startCpu = broker.cpuSeconds()
    const startClient = process.cpuUsage()
    const produce = await produceRecords(client, { topic: 'bench', records, recordBytes: size })
    const clientUsage = process.cpuUsage(startClient)
    const middleCpu = broker.cpuSeconds()
    const consume = await consumeRecords(client, { topic: 'bench', records, recordBytes: size })
    const endCpu = broker.cpuSeconds()
    if (produce.checksum !== consume.checksum) throw new Error('what was consumed is not what was produced')
    await client.close()
    const rawMibPerSec = rawWriteMibPerSec(broker.dataDir, records * size, fsync)
    const perMillion = 1e6 / records
    return {
      produce: { ...produce, fsync },
      consume: { ...consume, fsync },
      produceCpu: (middleCpu - startCpu) * perMillion,
      consumeCpu: (endCpu - middleCpu) * perMillion,
      clientCpu: ((clientUsage.user + clientUsage.system) / 1e6) * perMillion,
      rawMibPerSec,
    }
  } finally {
    await broker.stop()
    removeDataDir(broker.dataDir)
  }
}

for (const size of sizes) {
  for (const fsync of policies) {
    const records = options.number('records', size >= 1024 ? 1_000_000 : 4_000_000, 20_000)
    const results: Run[] = []
    for (let run = 0; run < runs; run++) results.push(await oneRun(size, fsync, records))
    const of = (pick: (run: Run) => number) => spreadOf(results.map(pick))
    if (options.json)
      for (const { produce, consume } of results)
        console.log(
          `${JSON.stringify({ bench: 'produce', size, ...produce })}\n${JSON.stringify({ bench: 'consume', size, ...consume })}`,
        )
    else {
      console.log(`${size} B, fsync ${fsync}, ${records} records, median of ${runs} (min–max)`)
      console.log(
        `  produce  ${spreadText(
          of((run) => run.produce.recordsPerSec / 1000),
          0,
        )} k/s  ${spreadText(
          of((run) => run.produce.mibPerSec),
          0,
        )} MiB/s  broker CPU ${spreadText(
          of((run) => run.produceCpu),
          2,
        )} s/M  client CPU ${spreadText(
          of((run) => run.clientCpu),
          2,
        )} s/M`,
      )
      console.log(
        `  consume  ${spreadText(
          of((run) => run.consume.recordsPerSec / 1000),
          0,
        )} k/s  ${spreadText(
          of((run) => run.consume.mibPerSec),
          0,
        )} MiB/s  broker CPU ${spreadText(
          of((run) => run.consumeCpu),
          2,
        )} s/M`,
      )
      console.log(
        `  raw 1 MiB writes, same disk, same run: ${spreadText(
          of((run) => run.rawMibPerSec),
          0,
        )} MiB/s`,
      )
    }
  }
}
