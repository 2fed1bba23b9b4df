/**
 * What consumer groups cost a broker, spoken to by the wire: members that only heartbeat, commits one partition at a time, a restart.
 *
 *   heartbeats  so many groups with so many members each, every member over its own connection, at the
 *               interval the broker asks for (with 30 s of session as with the client's 10 s): broker CPU, as a part of one core; all of
 *               them settled before
 *   floor       the same number of clients and messages, of a heartbeat's size, against a process that sends them back: what the engine
 *               and the kernel cost by themselves
 *   restart     the broker is killed; from its new start until every member was answered and every group is stable
 *   commits     commits of one partition each, pipelined, each acknowledged when it is synced
 *
 *   node dist/native-free-bench/macro/groups.js [--smoke] [--only heartbeats|floor|commits] [--groups 1000] [--members 10] [--seconds 20]
 *     [--members-per-connection 1] [--commits 200000] [--open 512] [--runs 3] [--restarts 3] [--json]
 */
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { connect } from '../../src/client/index.ts'
import { listGroups, offsetCommit, offsetFetch } from '../../src/protocol/index.ts'
import { BareMember } from '../../test/support/bare-member.ts'
import { BareClient } from '../../test/support/gateway-fixture.ts'
import { withBroker, withBrokerCpu } from '../harness/bench-broker.ts'
import { EchoProcess } from '../harness/echo-process.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const report = new Report('macro/groups', options)
const only = options.text('only', '')
const runs = options.number('runs', 3, 1)
const restartCount = options.number('restarts', 3, 1)
const groupCount = options.number('groups', 1_000, 20)
const memberCount = options.number('members', 10, 3)
const floorIntervalMs = options.number('floor-interval', 3_000, 250)
const seconds = options.number('seconds', 20, 1)
const commits = options.number('commits', 200_000, 2_000)
const openMax = options.number('open', 512, 64)
/** Members of one connection: of a process that has many groups. */
const membersPerConnection = options.number('members-per-connection', 1, 1)
const CONNECTING_AT_ONCE = 64
/** A frame of a heartbeat that says nothing new. */
const HEARTBEAT_BYTES = 85
const SETTLE_ROUNDS_MAX = 100
const TOPIC = 'groups'

async function inTurns<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < items.length) await work(items[next++]!)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

async function helloOf(url: string): Promise<BareClient> {
  const client = await BareClient.hello(url)
  client.keepsFrames = false
  return client
}

async function makeMembers(url: string): Promise<BareMember[]> {
  const total = groupCount * memberCount
  const clients: BareClient[] = []
  const places = Array.from({ length: Math.ceil(total / membersPerConnection) }, (_, place) => place)
  await inTurns(places, CONNECTING_AT_ONCE, async (place) => {
    clients[place] = await helloOf(url)
  })
  return Array.from({ length: total }, (_, index) => {
    const client = clients[Math.floor(index / membersPerConnection)]!
    const groupId = `group-${Math.floor(index / memberCount)}`
    return new BareMember(client, groupId, [TOPIC])
  })
}

/** Heartbeats in rounds until every group is stable. */
async function settle(members: readonly BareMember[]): Promise<void> {
  for (let round = 0; round < SETTLE_ROUNDS_MAX; round++) {
    await inTurns(members, 256, (member) => member.heartbeat())
    const { groups } = await members[0]!.client.call(listGroups, { states: [], kinds: [] })
    const isStable = groups.length === groupCount && groups.every((group) => group.state === 'Stable')
    if (isStable && groups.every((group) => group.memberCount === memberCount)) return
  }
  throw new Error(`the groups were not stable after ${SETTLE_ROUNDS_MAX} rounds of heartbeats`)
}

/** Every one at the interval, spread evenly, for `seconds`; answers how often `work` was done. */
async function spread<T>(
  items: readonly T[],
  intervalMs: number,
  work: (item: T) => Promise<unknown>,
): Promise<number> {
  const startedMs = performance.now()
  const endMs = startedMs + seconds * 1000
  let count = 0
  const open = new Set<Promise<unknown>>()
  for (let nowMs = startedMs; nowMs < endMs; nowMs = performance.now()) {
    // In the order in which they are due, again and again.
    for (; startedMs + (count / items.length) * intervalMs <= nowMs; count++) {
      const working = work(items[count % items.length]!).finally(() => open.delete(working))
      open.add(working)
    }
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await Promise.all(open)
  return count
}

/** Heartbeats at the interval that the broker asks for. */
async function beat(members: readonly BareMember[]): Promise<number> {
  const { heartbeatIntervalMs } = await members[0]!.heartbeat()
  return spread(members, heartbeatIntervalMs, (member) => member.heartbeat())
}

/** A client of the echo: one message under way at a time. */
class EchoClient {
  readonly #socket: WebSocket
  #onMessage = () => {}

  constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', () => this.#onMessage())
  }

  static async connect(url: string): Promise<EchoClient> {
    const socket = new WebSocket(url, { perMessageDeflate: false })
    await once(socket, 'open')
    return new EchoClient(socket)
  }

  echo(message: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#onMessage = resolve
      this.#socket.send(message)
    })
  }

  close(): void {
    this.#socket.terminate()
  }
}

/** What as many messages of a heartbeat's size at the same rate cost a process that only sends them back. */
async function floor(): Promise<void> {
  const message = new Uint8Array(HEARTBEAT_BYTES)
  const perEcho: number[] = []
  const echo = await EchoProcess.start()
  const places = Array.from({ length: Math.ceil((groupCount * memberCount) / membersPerConnection) }, (_, at) => at)
  const clients: EchoClient[] = []
  await inTurns(places, CONNECTING_AT_ONCE, async () => clients.push(await EchoClient.connect(echo.url)))
  const intervalMs = floorIntervalMs / membersPerConnection
  for (let run = 0; run < runs; run++) {
    const before = await echo.cpuSeconds()
    const count = await spread(clients, intervalMs, (client) => client.echo(message))
    perEcho.push((((await echo.cpuSeconds()) - before) / count) * 1e6)
  }
  for (const client of clients) client.close()
  await echo.stop()
  const name = `the floor: ${groupCount * memberCount} clients of an echo, CPU a message`
  report.figure(name, perEcho, { unit: 'µs', better: 'lower', digits: 1 })
}

async function heartbeats(): Promise<void> {
  const cpu: number[] = []
  const perBeat: number[] = []
  const rates: number[] = []
  const restarts: number[] = []
  await withBroker({ profile: 'balanced', fsync: 'group' }, async (target, broker) => {
    await target.client.admin.topics.create(TOPIC, { partitions: memberCount })
    let members = await makeMembers(target.url)
    await settle(members)
    // Many at once: one after the other they would outlast the sessions.
    await inTurns(members, 256, (member) => member.commit(TOPIC, Number(member.partitions[0]!.split('/')[1]), 7))
    for (let run = 0; run < runs; run++) {
      const { value, cpuSeconds } = await withBrokerCpu(broker, () => beat(members))
      cpu.push((cpuSeconds / seconds) * 100)
      perBeat.push((cpuSeconds / value) * 1e6)
      rates.push(value / seconds)
    }
    for (let run = 0; run < restartCount; run++) {
      await broker.kill()
      const killedMs = performance.now()
      await broker.start()
      const again = await makeMembers(broker.url)
      for (const [index, { memberId, memberEpoch, owned }] of members.entries())
        Object.assign(again[index]!, { memberId, memberEpoch, owned })
      await settle(again)
      restarts.push((performance.now() - killedMs) / 1000)
      members = again
    }
    await checkOffsets(members)
  })
  const name = `${groupCount} groups of ${memberCount}`
  report.figure(`${name}: heartbeats`, rates, { unit: '/s', better: 'higher', digits: 0 })
  report.figure(`${name}: heartbeats, broker CPU`, cpu, { unit: '% of a core', better: 'lower', digits: 1 })
  report.figure(`${name}: broker CPU a heartbeat`, perBeat, { unit: 'µs', better: 'lower', digits: 1 })
  if (restartCount > 0)
    report.figure(`${name}: kill -9 to all stable`, restarts, { unit: 's', better: 'lower', digits: 2 })
}

/** Every member has committed 7 for its partition. */
async function checkOffsets(members: readonly BareMember[]): Promise<void> {
  for (let group = 0; group < groupCount; group++) {
    const request = { groupId: `group-${group}`, memberId: '', memberEpoch: -1, requireStable: false, topics: null }
    const { topics } = await members[0]!.client.call(offsetFetch, request)
    const offsets = topics.flatMap(({ partitions }) => partitions.map(({ offset }) => offset))
    if (offsets.length !== memberCount || offsets.some((offset) => offset !== 7))
      throw new Error(`group-${group} has lost offsets: ${offsets.join(' ')}`)
  }
}

async function commitRate(): Promise<void> {
  const rates: number[] = []
  const cpu: number[] = []
  await withBroker({ profile: 'balanced', fsync: 'group' }, async (target, broker) => {
    const admin = await connect(target.url)
    await admin.admin.topics.create(TOPIC, { partitions: 64 })
    const client = await helloOf(target.url)
    for (let run = 0; run < runs; run++) {
      const serials = Array.from({ length: commits }, (_, index) => index)
      const startedMs = performance.now()
      const { cpuSeconds } = await withBrokerCpu(broker, () =>
        inTurns(serials, openMax, (serial) => {
          const partitions = [{ partition: serial % 64, offset: serial, leaderEpoch: -1, metadata: '' }]
          const topics = [{ topicId: '' as const, topic: TOPIC, partitions }]
          const request = { groupId: 'committer', memberId: '', memberEpoch: -1, instanceId: null, topics }
          return client.call(offsetCommit, request).then((reply) => {
            const { errorNumber } = reply.topics[0]!.partitions[0]!
            if (errorNumber !== 0) throw new Error(`commit ${serial} was answered ${errorNumber}`)
          })
        }),
      )
      rates.push(commits / ((performance.now() - startedMs) / 1000))
      cpu.push((cpuSeconds / commits) * 1e6)
    }
    client.close()
    await admin.close()
  })
  report.figure(`commits, ${openMax} open on one connection`, rates, { unit: '/s', better: 'higher', digits: 0 })
  report.figure('broker CPU a commit', cpu, { unit: 'µs', better: 'lower', digits: 1 })
}

if (only === '' || only === 'heartbeats') await heartbeats()
if (only === '' || only === 'floor') await floor()
if (only === '' || only === 'commits') await commitRate()
