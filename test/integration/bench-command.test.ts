/** `millrace bench` against a broker process: every kind works, counts and checksums match, nothing is left behind. */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { BenchResult } from '../../src/cli/bench/bench-result.ts'
import { connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { repositoryRoot } from '../support/repository.ts'
import { until } from '../support/until.ts'

const MILLRACE = join(repositoryRoot, 'dist', 'src', 'cli', 'main.js')
const FIXED = 'records bytes seconds recordsPerSec mibPerSec p50Ms p99Ms p999Ms maxMs checksum profile fsync acks'
const RECORDS = 3000

let broker: BrokerProcess
before(async () => {
  broker = await BrokerProcess.start({ dataDir: makeDataDir(), args: ['--shards', '2', '--profile', 'throughput'] })
})
after(async () => {
  await broker.stop()
  removeDataDir(broker.dataDir)
})

interface Outcome {
  readonly code: number
  readonly lines: readonly string[]
  readonly stderr: string
}

function bench(...words: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const args = [MILLRACE, 'bench', ...words, '-s', broker.url]
    execFile(process.execPath, args, { timeout: 60_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number(error.code ?? -1)
      resolve({ code, lines: stdout.split('\n').filter((line) => line !== ''), stderr })
    })
  })
}

/** The results, the whole run's last, each with the fixed fields and figures that agree with one another. */
async function results(...words: string[]): Promise<(BenchResult & Record<string, unknown>)[]> {
  const { code, lines, stderr } = await bench(...words, '--json')
  assert.equal(code, 0, stderr)
  return lines.map((line) => {
    const result = JSON.parse(line) as BenchResult & Record<string, unknown>
    assert.deepEqual(Object.keys(result).slice(0, FIXED.split(' ').length), FIXED.split(' '))
    const { records, bytes, seconds, recordsPerSec, mibPerSec, p50Ms, p99Ms, p999Ms, maxMs } = result
    assert.ok(records > 0 && seconds > 0 && result.checksum > 0)
    assert.ok(Math.abs(recordsPerSec - records / seconds) < 1)
    assert.ok(Math.abs(mibPerSec - bytes / seconds / 2 ** 20) < 0.01)
    assert.ok(p50Ms > 0 && p50Ms <= p99Ms && p99Ms <= p999Ms && p999Ms <= maxMs)
    assert.deepEqual([result.fsync, result.acks], ['group', 'all'])
    return result
  })
}

test('produce by both paths; the same records have the same checksum', async () => {
  const size = ['--records', String(RECORDS), '--size', '100']
  const [fast] = await results('produce', ...size)
  const [slow] = await results('produce', ...size, '--api', 'send', '--partitions', '3', '--profile', 'latency')
  assert.deepEqual([fast!.records, fast!.bytes, fast!.profile], [RECORDS, RECORDS * 100, 'throughput'])
  assert.deepEqual([slow!.records, slow!.profile, slow!.partitions], [RECORDS, 'latency', 3])
  assert.equal(fast!.checksum, slow!.checksum)
})

test('consume by both paths, by one and by several', async () => {
  const size = ['--records', String(RECORDS), '--size', '100']
  const [batches] = await results('consume', ...size)
  const [iterate] = await results('consume', ...size, '--api', 'iterate', '--consumers', '2')
  const [produced] = await results('produce', ...size)
  for (const result of [batches!, iterate!])
    assert.deepEqual([result.records, result.checksum], [RECORDS, produced!.checksum])
})

test('several producers, at a rate, until a time is over', async () => {
  const [shared] = await results('produce', '--records', '1001', '--producers', '2')
  assert.deepEqual([shared!.records, shared!.producers], [1001, 2])
  const [timed] = await results('produce', '--seconds', '1', '--rate', '500')
  assert.ok(timed!.seconds >= 1 && timed!.records <= 500 * timed!.seconds + 1)
})

test('latency', async () => {
  const [result] = await results('latency', '--records', '300', '--rate', '1000', '--consumers', '2')
  assert.deepEqual([result!.records, result!.bytes, result!.api], [300, 300 * 1024, 'send'])
  assert.ok(Number(result!.ackP50Ms) > 0)
})

test('shards: by one, by two, with how busy they were', async () => {
  const lines = await results('shards', '--records', String(RECORDS))
  assert.deepEqual(
    lines.map(({ shards, producers, records }) => [shards, producers, records]),
    [
      [1, 1, RECORDS],
      [2, 2, RECORDS],
    ],
  )
  for (const { mainUtilisation, shardUtilisation } of lines) {
    assert.ok(Number(mainUtilisation) > 0 && Number(mainUtilisation) <= 1)
    for (const share of shardUtilisation as number[]) assert.ok(share >= 0 && share <= 1)
  }
})

test('an interrupt ends it with 130 and takes its topic away', async () => {
  const client = await connect(broker.url)
  for (const producers of ['1', '2']) {
    const args = [MILLRACE, 'bench', 'produce', '--seconds', '600', '--producers', producers, '-s', broker.url]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    try {
      await until('topic', 30_000, async () => (await client.admin.topics.list()).length > 0)
      child.kill('SIGINT')
      assert.equal(await ended, 130)
      assert.deepEqual(await client.admin.topics.list(), [])
    } finally {
      child.kill('SIGKILL')
    }
  }
  await client.close()
})

test('text says what JSON says; what fails says why; no topic is left', async () => {
  const text = await bench('produce', '--records', '500', '--consumers', '3')
  assert.equal(text.code, 0)
  assert.match(text.stderr, /--consumers: bench produce has no use for it/)
  assert.match(text.lines.join('\n'), /^500 records in .*records\/s.*\n.*p99\.9.*\n.*fsync group, acks all/)
  const failed = await bench('shards', '--partitions', '1', '--records', '10', '--json')
  assert.equal(failed.code, 2, failed.stderr)
  assert.match(failed.stderr, /give more --partitions/)
  const client = await connect(broker.url)
  assert.deepEqual(await client.admin.topics.list(), [])
  await client.close()
})
