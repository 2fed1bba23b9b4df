/** The cluster commands as a person sees them, on three brokers in one process: tables, JSON lines, plans that are read back, health. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type ClusterView, showCluster } from '../../src/cli/commands/cluster.ts'
import {
  type DecommissionFlags,
  decommissionWith,
  electWith,
  movesWith,
  type ReassignFlags,
  reassignWith,
  rebalanceWith,
} from '../../src/cli/commands/replicas.ts'
import { BrokerCluster } from '../support/broker-cluster.ts'
import { CommandOutput } from '../support/command-output.ts'
import { hasCode } from '../support/expect.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 10_000

const folder = mkdtempSync(join(tmpdir(), 'millrace-cluster-commands-'))
const cluster = await BrokerCluster.start({ nodes: 3, config: { 'cluster.rack': 'east' } })
const client = cluster.client()
after(async () => {
  await cluster.close()
  rmSync(folder, { recursive: true, force: true })
})

async function show(view: ClusterView, isJson = false): Promise<string[]> {
  const output = new CommandOutput(isJson)
  await showCluster(output, client, view)
  return output.printed
}

async function reassign(flags: ReassignFlags, isJson = false): Promise<CommandOutput> {
  const output = new CommandOutput(isJson)
  await reassignWith(output, client, flags)
  return output
}

async function decommission(nodeId: number, flags: DecommissionFlags = {}): Promise<CommandOutput> {
  const output = new CommandOutput()
  await decommissionWith(output, client, flags, nodeId)
  return output
}

test('info, brokers and health of a cluster that is well', async () => {
  await client.admin.topics.create('orders', { partitions: 6, replicas: 3 })
  const info = await show('info')
  assert.ok(info.includes('controllerId              1'), info.join('\n'))
  assert.ok(info.includes('brokers                   3'), info.join('\n'))
  const [heads, ...rows] = await show('brokers')
  assert.match(heads!, /^NODE +URL +RACK +VERSION +INCARNATION +SHARDS +LEADS +REPLICAS +STATE$/)
  assert.match(rows[0]!, /^ +1 +ws:\/\/node-1 +east +\S+ +1 +1 +2 +6 +serving, controller$/)
  assert.match(rows[2]!, /^ +3 +ws:\/\/node-3 +east +\S+ +1 +1 +2 +6 +serving$/)
  assert.deepEqual(await show('health'), ['healthy'])
  const [health] = (await show('health', true)).map((line) => JSON.parse(line) as unknown)
  assert.deepEqual(health, { healthy: true, reasons: [], shards: [] })
})

test('reassign: a dry run prints a plan, and a file of it is carried out', async () => {
  await client.admin.topics.create('moved', { partitions: 3, replicas: 1 })
  const to = { topic: 'moved', replicas: '1,2,3' }
  const shown = await reassign({ ...to, dryRun: true })
  assert.deepEqual(shown.printed[0]!.split(/ +/), ['TOPIC', 'PARTITION', 'FROM', 'TO'])
  // The leader is another one in each partition.
  for (const [partition, replicas] of ['1,2,3', '2,3,1', '3,1,2'].entries())
    assert.match(shown.printed[partition + 1]!, new RegExp(`^moved +${partition}  \\d +${replicas}$`))
  assert.deepEqual(shown.said, ['3 moves planned; nothing is changed (--dry-run)'])
  const lines = await reassign({ ...to, dryRun: true }, true)
  assert.deepEqual(Object.keys(JSON.parse(lines.printed[0]!) as object), ['topic', 'partition', 'from', 'to'])
  const plan = join(folder, 'plan.jsonl')
  const stays = '{"topic":"orders","partition":0,"reason":"no broker is left"}'
  writeFileSync(plan, `${lines.printed.join('\n')}\n\n${stays}\n`)
  const begun = await reassign({ plan, partition: '1', topic: 'moved' })
  assert.equal(begun.printed.length, 2)
  assert.deepEqual(begun.said, ['1 move begun; millrace cluster moves shows how far they are'])
  await reassign({ plan })
  const wanted = ['1,2,3', '2,3,1', '3,1,2']
  await until('end of the moves', WAIT_MS, async () => (await client.admin.cluster.moves()).length === 0)
  const { partitions } = await client.admin.topics.describe('moved')
  assert.deepEqual(
    partitions.map(({ replicas }) => replicas.join()),
    wanted,
  )
  assert.deepEqual((await reassign({ plan })).said, ['nothing has to move'])
})

test('reassign --wait ends when the moves have; moves says what goes on', async () => {
  const output = await reassign({ topic: 'moved', replicas: '2', wait: true })
  assert.deepEqual(output.said, ['3 moves done'])
  const { partitions } = await client.admin.topics.describe('moved')
  assert.ok(partitions.every(({ replicas }) => replicas.join() === '2'))
  const idle = new CommandOutput()
  await movesWith(idle, client)
  assert.deepEqual([idle.printed, idle.said], [[], ['nothing moves']])
  const cancelled = await reassign({ topic: 'moved', partition: '0', cancel: true })
  assert.match(cancelled.said[0]!, /moved\/0 is left as it is: it does not move/)
})

test('rebalance and elect say what they did, or that there is nothing to do', async () => {
  const rebalanced = new CommandOutput()
  await rebalanceWith(rebalanced, client, { wait: true })
  assert.match(rebalanced.said.at(-1)!, /^\d moves? done$/)
  const again = new CommandOutput()
  await rebalanceWith(again, client, { dryRun: true })
  assert.deepEqual(again.said.at(-1), 'nothing has to move')
  const elected = new CommandOutput()
  await electWith(elected, client, { topic: 'orders', partition: '0' })
  assert.deepEqual(elected.said, [
    'orders/0 is left as it is: it is led by its preferred replica already, or that one is not in sync',
    '0 leaderships given back to preferred replicas',
  ])
})

test('decommission: what cannot leave is told; what can has left when --wait ends', async () => {
  const shown = await decommission(3, { dryRun: true })
  assert.match(shown.said[0]!, /^orders\/0 stays: no broker is left/)
  await assert.rejects(
    decommission(3, { wait: true }),
    hasCode('INVALID_REPLICA_ASSIGNMENT', /6 partitions cannot leave broker 3: add a broker/),
  )
  assert.match((await show('brokers'))[3]!, /decommissioned$/)
  const undone = await decommission(3, { undo: true })
  assert.match(undone.said[0]!, /takes replicas again/)
  await client.admin.topics.delete('orders')
  const done = await decommission(3, { wait: true })
  assert.deepEqual(done.said, ['broker 3 has no replicas any more: it can be stopped for good'])
  assert.match((await show('brokers'))[3]!, / 0 +0 +decommissioned$/)
  await decommission(3, { undo: true })
})

test('health names what is wrong when a broker is gone', async () => {
  await client.admin.topics.create('watched', { partitions: 3, replicas: 3 })
  await client.admin.topics.create('lonely', { partitions: 3, replicas: 1 })
  cluster.kill(3)
  await cluster.expire(3)
  const output = new CommandOutput(true)
  const reasons = await until('a reason', WAIT_MS, async () => {
    output.printed.length = 0
    const failed = await showCluster(output, cluster.client({ nodes: [1] }), 'health').catch((error: unknown) => error)
    if (failed === undefined) return undefined
    assert.ok(hasCode('LEADER_NOT_AVAILABLE', /not healthy/)(failed))
    const { reasons: all } = JSON.parse(output.printed[0]!) as { reasons: string[] }
    return all.length === 2 && all
  })
  assert.match(reasons[0]!, /^1 partition without a leader$/)
  assert.match(reasons[1]!, /^3 partitions with fewer replicas in sync than there are$/)
})
