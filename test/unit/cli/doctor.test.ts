/** What doctor makes of numbers: the same machine everywhere, so the limits themselves are tested, not this computer. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { Patient } from '../../../src/cli/doctor/diagnosis.ts'
import { checkDataDir, checkFreeSpace, checkSync, judgeSyncs } from '../../../src/cli/doctor/disk-checks.ts'
import {
  checkClock,
  checkCores,
  checkMemory,
  checkNativeLibraries,
  checkNode,
  checkOpenFiles,
} from '../../../src/cli/doctor/machine-checks.ts'
import { checkListenPort } from '../../../src/cli/doctor/port-checks.ts'
import { planThreads, resolveConfig } from '../../../src/config/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-doctor-test-'))
after(() => rmSync(folder, { recursive: true, force: true }))

function patient(settings: Record<string, unknown> = {}, cores = 4): Patient {
  const flags = Object.entries(settings).map(([path, value]) => ({ path, value, source: path }))
  const config = resolveConfig({ flags })
  return { config, threads: planThreads(config, cores), dataDir: folder, signal: new AbortController().signal }
}

test('Node: the least, the recommended, what is too old', () => {
  assert.deepEqual(
    ['18.20.0', '20.18.3', '20.19.0', '22.1.0', '24.0.0'].map((version) => checkNode(version).status),
    ['fail', 'fail', 'ok', 'ok', 'ok'],
  )
  assert.match(checkNode('20.18.3').fix ?? '', /install Node 24/)
  assert.match(checkNode('20.19.0').text, /24 is recommended/)
})

test('the native libraries of this installation load and compute', () => {
  assert.equal(checkNativeLibraries().status, 'ok')
})

test('open files: enough for partitions and connections, for partitions alone, for neither', () => {
  const one = patient({ 'limits.connections': 1000 }, 2)
  const { facts } = checkOpenFiles(one, 100, 1_000_000)
  const wanted = Number(facts?.wanted)
  assert.equal(checkOpenFiles(one, 100, wanted).status, 'ok')
  assert.equal(checkOpenFiles(one, 100, Number.POSITIVE_INFINITY).status, 'ok')
  const short = checkOpenFiles(one, 100, wanted - 1)
  assert.equal(short.status, 'warn')
  assert.match(short.fix ?? '', new RegExp(`ulimit -n ${wanted}`))
  assert.equal(checkOpenFiles(one, 100, 512).status, 'fail')
  assert.equal(checkOpenFiles(one, 10_000, wanted).status, 'fail', 'more partitions want more')
})

test('cores: the plan, a quota below it, spinning without a core to spare, more shards than cores', () => {
  assert.equal(checkCores(patient(), 4, undefined).status, 'ok')
  const quota = checkCores(patient(), 4, 2)
  assert.deepEqual([quota.status, quota.fix], ['warn', '--shards 1'])
  assert.equal(checkCores(patient({ 'shard.wait': 'spin' }, 2), 2, undefined).status, 'warn')
  assert.equal(checkCores(patient({ 'shard.wait': 'spin' }, 8), 8, undefined).status, 'ok')
  assert.equal(checkCores(patient({ shards: 8 }), 4, undefined).status, 'warn')
})

test('memory: what rings, pages and buffers may take against what there is', () => {
  const most = Number(checkMemory(patient(), 1e12).facts?.mostBytes)
  assert.equal(checkMemory(patient(), 2 * most).status, 'ok')
  assert.equal(checkMemory(patient(), 2 * most - 2).status, 'warn')
  assert.equal(checkMemory(patient(), most - 1).status, 'fail')
  const large = checkMemory(patient({ 'pages.poolBytes': '1GiB' }), 1e12)
  assert.ok(Number(large.facts?.mostBytes) > most)
})

test('the clock: never set, behind the data, read from a slow source', () => {
  const now = Date.UTC(2026, 10, 1)
  assert.equal(checkClock(undefined, now, 'tsc').status, 'ok')
  assert.equal(checkClock(now + 30_000, now, 'tsc').status, 'ok')
  assert.equal(checkClock(now + 3_600_000, now, 'tsc').status, 'warn')
  assert.equal(checkClock(undefined, 1_000, '').status, 'fail')
  assert.match(checkClock(undefined, now, 'hpet').text, /hpet, which is slow/)
})

test('syncs: the percentiles, a slow disk, memory that only looks like a disk', () => {
  const disk = { parent: '/data', isMemory: false }
  const tooksMs = Array.from({ length: 100 }, (_, index) => index + 1)
  const slow = judgeSyncs(tooksMs, disk)
  assert.deepEqual([slow.status, slow.facts?.p50Ms, slow.facts?.p99Ms], ['warn', 51, 100])
  assert.match(slow.fix ?? '', /storage\.fsync: interval/)
  assert.equal(judgeSyncs([0.2], disk).status, 'ok')
  assert.equal(judgeSyncs([0.01], { ...disk, isMemory: true }).status, 'warn')
})

test('the disk is measured where the data will be, and nothing is left there', async () => {
  const diagnosis = await checkSync({ ...patient(), dataDir: join(folder, 'not', 'there', 'yet') })
  assert.ok(Number(diagnosis.facts?.syncs) > 0, diagnosis.text)
  assert.equal(diagnosis.facts?.folder, folder)
  assert.deepEqual(readdirSync(folder), [])
})

test('the data dir: not there, a file, somebody else holds nothing of it', () => {
  assert.match(checkDataDir({ ...patient(), dataDir: join(folder, 'absent') }).diagnosis.text, /first start makes it/)
  const file = join(folder, 'file')
  writeFileSync(file, '')
  assert.equal(checkDataDir({ ...patient(), dataDir: file }).diagnosis.status, 'fail')
  rmSync(file)
})

test('free space is held against the reserve and the journals', () => {
  const least = Number(checkFreeSpace(patient()).facts?.leastBytes)
  assert.ok(least > 0)
  assert.deepEqual(
    [4 * least, 4 * least - 1, least, least - 1].map((freeBytes) => checkFreeSpace(patient(), freeBytes).status),
    ['ok', 'warn', 'warn', 'fail'],
  )
  const full = checkFreeSpace(patient(), 0)
  assert.match(full.fix ?? '', /--data-dir/)
})

test('a port in use names who holds it, where that can be known', async () => {
  const server = createServer((socket) => socket.destroy())
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port))
  })
  try {
    const taken = await checkListenPort(patient({ listen: `127.0.0.1:${port}` }))
    assert.equal(taken.status, 'fail')
    assert.match(taken.text, /the port is in use/)
    if (process.platform === 'linux') assert.match(taken.text, new RegExp(`by process ${process.pid} `))
    assert.match(taken.fix ?? '', /--listen/)
  } finally {
    await new Promise((resolve) => server.close(resolve))
  }
})
