/**
 * Faults: what may go wrong in a cluster of real processes, each by its name. A fault begins, lasts and is healed; whether everything
 * comes back, and whether the history is valid, is judged by the run (chaos-run.ts).
 *
 * Invariants  when run() resolves every process runs (again) and nothing is cut
 */
import { rmSync, writeFileSync } from 'node:fs'
import type { SeededPrng } from '../../../src/base/prng.ts'
import { sleep, until } from '../until.ts'
import type { AckTimes, Span } from './ack-times.ts'
import { BROKERS, type ChaosCluster, type ChaosClusterOptions } from './chaos-cluster.ts'
import type { Host } from './network.ts'
import { OffsetsProbe, type OldCoordinatorAnswer } from './offsets-probe.ts'
import { ZombieProbe } from './zombie-probe.ts'

export interface FaultContext {
  readonly cluster: ChaosCluster
  readonly topic: string
  readonly partitions: number
  /** A topic of its own, with one partition, for questions that the history must not see. */
  readonly probeTopic: string
  readonly prng: SeededPrng
  readonly acks: AckTimes
  /** How long a fault lasts that may last as long as one likes. */
  readonly holdMs: number
  /** Of those that do something a number of times. */
  readonly runs: number
  note(text: string): void
  /** A rule that was broken: the run fails, and goes on. */
  fail(text: string): void
}

export interface FaultOutcome {
  /** While something was wrong. */
  readonly span: Span
  /** Acknowledged of what was sent in it, at least; left out: nothing is promised. */
  readonly acksMin?: number
}

export interface Fault {
  readonly what: string
  readonly needs?: Partial<ChaosClusterOptions>
  run(context: FaultContext): Promise<FaultOutcome>
}

/** While one of three is away. */
export const ACKS_WITH_ONE_AWAY_MIN = 100
const PAUSE_MS_MIN = 5_000
const PAUSE_MS_MAX = 15_000
/** More than `cluster.replicaLag`: a follower that does not answer leaves the in-sync set only then, and until then nothing is acknowledged. */
const LAG_MS = 12_000
/** A follower without room answers, and lags: it leaves the in-sync set after replicaLag and half of that again at most. */
const LAG_SEEN_MS = 18_000
const LEASE_MARGIN_MS = 500
const ROLLING_GAP_MS_MAX = 500
const SMALL_DISK_NODE = 3
const FSYNC_NODE = 2

export const FAULTS: Readonly<Record<string, Fault>> = {
  kill: { what: 'kill -9 of the leader of partition 0, started again', run: kill },
  kills: { what: 'kill -9 of random brokers, one after the other, some before the one before is back', run: kills },
  pause: { what: 'SIGSTOP of a leader for 5 to 15 s', run: pause },
  halves: { what: 'one broker and one etcd member on one side, two of each on the other', run: halves },
  'one-way': { what: 'a leader is not heard by the others, or does not hear them', run: oneWay },
  'leader-from-followers': { what: 'a leader is cut from the other brokers, not from etcd', run: leaderFromFollowers },
  'leader-from-etcd': { what: 'a leader is cut from etcd, not from the other brokers', run: leaderFromEtcd },
  'etcd-member': { what: 'kill -9 of one etcd member, started again', run: etcdMember },
  'etcd-down': { what: 'no etcd member runs', run: etcdDown },
  clock: { what: 'the wall clocks of brokers jump by hours', needs: { isClockMoved: true }, run: clockJump },
  'disk-full': { what: "one broker's disk is full", needs: { smallDiskOf: SMALL_DISK_NODE }, run: diskFull },
  fsync: { what: "one broker's fdatasync fails", needs: { fsyncFaultOf: FSYNC_NODE }, run: fsyncFails },
  rolling: { what: 'SIGTERM and start of every broker, one after the other', run: rolling },
}

async function kill(context: FaultContext): Promise<FaultOutcome> {
  const { cluster, holdMs } = context
  const victim = await leader(context)
  const span = await during(async () => {
    await cluster.broker(victim).kill()
    await sleep(holdMs)
  })
  await cluster.broker(victim).start()
  return { span, acksMin: ACKS_WITH_ONE_AWAY_MIN }
}

/** No promise on how much is acknowledged: two may be away at once. */
async function kills({ cluster, prng, holdMs, note }: FaultContext): Promise<FaultOutcome> {
  const starting = new Set<Promise<void>>()
  let count = 0
  const span = await during(async () => {
    const untilMs = performance.now() + holdMs
    while (performance.now() < untilMs) {
      const broker = cluster.broker(BROKERS[prng.below(BROKERS.length)]!)
      if (!broker.hasEnded && starting.size < 2) {
        count++
        await broker.kill()
        const start = sleep(prng.below(1_500)).then(() => broker.start())
        starting.add(start)
        void start.finally(() => starting.delete(start)).catch(() => {})
      }
      await sleep(200 + prng.below(3_000))
      if (prng.below(2) === 0) await Promise.all(starting)
    }
    await Promise.all(starting)
  })
  note(`${count} kills`)
  return { span }
}

async function pause(context: FaultContext): Promise<FaultOutcome> {
  const { cluster, prng } = context
  const probe = await probeOf(context)
  const broker = cluster.broker(probe.nodeId)
  const ms = PAUSE_MS_MIN + prng.below(PAUSE_MS_MAX - PAUSE_MS_MIN)
  const span = await during(async () => {
    broker.pause()
    await sleep(ms)
  })
  // The question lies in the socket already when the process goes on: it has had no time to learn anything.
  const asked = probe.probe.ask()
  broker.resume()
  checkZombie(context, await asked, ms)
  probe.probe.close()
  context.note(`paused ${ms} ms`)
  return { span, ...(ms > cluster.leaseTtlMs + 5_000 ? { acksMin: ACKS_WITH_ONE_AWAY_MIN } : {}) }
}

async function halves(context: FaultContext): Promise<FaultOutcome> {
  const { cluster, prng } = context
  const victim = await leader(context)
  const member = cluster.etcd.hosts[prng.below(cluster.etcd.hosts.length)]!
  const rest: Host[] = [...others(victim), ...cluster.etcd.hosts.filter((host) => host !== member)]
  // Half the time clients are on one side too: reaching both, they meet the leader of old.
  const isClientCut = prng.below(2) === 0
  context.note(isClientCut ? 'clients on the side of two' : 'clients reach both sides')
  return cutFor(context, () => cluster.network.cut([victim, member], isClientCut ? [...rest, 'client'] : rest))
}

async function oneWay(context: FaultContext): Promise<FaultOutcome> {
  const { cluster, prng } = context
  const victim = await leader(context)
  const rest: Host[] = [...others(victim), ...cluster.etcd.hosts]
  const isDeaf = prng.below(2) === 0
  context.note(`broker ${victim} ${isDeaf ? 'hears nobody' : 'is heard by nobody'}`)
  return cutFor(context, () =>
    isDeaf ? cluster.network.cutOneWay(rest, [victim]) : cluster.network.cutOneWay([victim], rest),
  )
}

async function leaderFromFollowers(context: FaultContext): Promise<FaultOutcome> {
  const { cluster, partitions, acks, note } = context
  const victim = await leader(context)
  const outcome = await cutFor(context, () => cluster.network.cut([victim], others(victim)))
  // It resigns after replicaLag, and half of that again at most.
  const gaps = Array.from({ length: partitions }, (_, partition) => acks.longestGapMs(outcome.span, partition))
  note(`longest time of one partition without an acknowledgement ${Math.max(...gaps).toFixed(0)} ms`)
  return outcome
}

async function leaderFromEtcd(context: FaultContext): Promise<FaultOutcome> {
  const { cluster, holdMs } = context
  const { probe, nodeId } = await probeOf(context)
  const offsets = await OffsetsProbe.open(cluster, nodeId, context.probeTopic)
  const span = await during(async () => {
    cluster.network.cut([nodeId], cluster.etcd.hosts)
    const leaseMs = cluster.leaseTtlMs + LEASE_MARGIN_MS
    await sleep(leaseMs)
    checkZombie(context, await probe.ask(), leaseMs)
    await sleep(Math.max(0, holdMs - leaseMs))
    if (offsets !== undefined) checkOldCoordinator(context, await offsets.ask())
  })
  offsets?.close()
  cluster.network.heal()
  probe.close()
  return { span, acksMin: ACKS_WITH_ONE_AWAY_MIN }
}

async function etcdMember({ cluster, prng, holdMs }: FaultContext): Promise<FaultOutcome> {
  const member = cluster.etcd.hosts[prng.below(cluster.etcd.hosts.length)]!
  const span = await during(async () => {
    await cluster.etcd.kill(member)
    await sleep(holdMs)
  })
  cluster.etcd.startMember(member)
  return { span, acksMin: ACKS_WITH_ONE_AWAY_MIN }
}

async function etcdDown({ cluster, holdMs, acks, note }: FaultContext): Promise<FaultOutcome> {
  const span = await during(async () => {
    for (const host of cluster.etcd.hosts) await cluster.etcd.kill(host)
    await sleep(holdMs)
  })
  for (const host of cluster.etcd.hosts) cluster.etcd.startMember(host)
  await cluster.etcd.ready()
  note(`longest time without an acknowledgement ${acks.longestGapMs(span).toFixed(0)} ms`)
  return { span, acksMin: ACKS_WITH_ONE_AWAY_MIN }
}

async function clockJump({ cluster, prng, holdMs, note }: FaultContext): Promise<FaultOutcome> {
  const { clock } = cluster
  if (clock?.kind !== 'ready') throw new Error('no clock to move')
  const jumps: string[] = []
  const span = await during(async () => {
    for (let jump = 0; jump < 4; jump++) {
      const nodeId = BROKERS[prng.below(BROKERS.length)]!
      const seconds = (prng.below(2) === 0 ? 1 : -1) * (1 + prng.below(100_000))
      jumps.push(`${nodeId}: ${seconds} s`)
      clock.set(`broker-${nodeId}`, seconds)
      await sleep(holdMs / 4)
    }
  })
  for (const nodeId of BROKERS) clock.set(`broker-${nodeId}`, 0)
  note(jumps.join(', '))
  return { span, acksMin: ACKS_WITH_ONE_AWAY_MIN }
}

async function diskFull({ cluster, prng, holdMs, note, fail }: FaultContext): Promise<FaultOutcome> {
  const { smallDisk } = cluster
  if (smallDisk?.kind !== 'ready') throw new Error('no small disk')
  const leaveBytes = prng.below(2) === 0 ? 0 : 1_000_000
  const span = await during(async () => {
    smallDisk.fill(leaveBytes)
    await sleep(Math.max(holdMs, LAG_SEEN_MS))
  })
  if (cluster.broker(SMALL_DISK_NODE).hasEnded) fail(`broker ${SMALL_DISK_NODE} ended on a full disk`)
  smallDisk.empty()
  note(`${leaveBytes} bytes left`)
  return { span, acksMin: ACKS_WITH_ONE_AWAY_MIN }
}

/** A shard whose sync failed is offline until the process is another one. */
async function fsyncFails({ cluster, holdMs }: FaultContext): Promise<FaultOutcome> {
  const broker = cluster.broker(FSYNC_NODE)
  const span = await during(async () => {
    writeFileSync(cluster.fsyncTrigger, '')
    await sleep(holdMs)
  })
  rmSync(cluster.fsyncTrigger, { force: true })
  await broker.kill()
  await broker.start()
  return { span, acksMin: ACKS_WITH_ONE_AWAY_MIN }
}

async function rolling({ cluster, acks, note, partitions }: FaultContext): Promise<FaultOutcome> {
  const gaps: string[] = []
  const span = await during(async () => {
    for (const nodeId of BROKERS) {
      const stopped = await during(async () => {
        await cluster.broker(nodeId).stop()
        await sleep(1_000)
      })
      await cluster.broker(nodeId).start()
      await cluster.settle()
      const toMs = performance.now()
      const ofOne = Array.from({ length: partitions }, (_, partition) =>
        acks.longestGapMs({ fromMs: stopped.fromMs, toMs }, partition),
      )
      gaps.push(
        `${nodeId}: ${acks.longestGapMs({ ...stopped, toMs }).toFixed(0)} ms, of one partition ${Math.max(...ofOne).toFixed(0)} ms`,
      )
    }
  })
  note(`longest time without an acknowledgement (wanted: ${ROLLING_GAP_MS_MAX} ms) ${gaps.join('; ')}`)
  return { span, acksMin: ACKS_WITH_ONE_AWAY_MIN }
}

/** Cuts as `cut` says, for `holdMs`, at least until the in-sync sets have done without whoever is away. */
async function cutFor({ cluster, holdMs }: FaultContext, cut: () => void): Promise<FaultOutcome> {
  const span = await during(async () => {
    cut()
    await sleep(Math.max(holdMs, LAG_MS + cluster.leaseTtlMs))
  })
  cluster.network.heal()
  return { span, acksMin: ACKS_WITH_ONE_AWAY_MIN }
}

async function during(work: () => Promise<void>): Promise<Span> {
  const fromMs = performance.now()
  await work()
  return { fromMs, toMs: performance.now() }
}

function leader({ cluster, topic }: FaultContext): Promise<number> {
  return cluster.leaderOf(topic, 0)
}

function others(nodeId: number): number[] {
  return BROKERS.filter((each) => each !== nodeId)
}

async function probeOf({ cluster, probeTopic }: FaultContext): Promise<{ probe: ZombieProbe; nodeId: number }> {
  const nodeId = await cluster.leaderOf(probeTopic, 0)
  const { topicId } = await cluster.topic(probeTopic)
  const probe = await until('connection of the probe', 10_000, () =>
    ZombieProbe.open(cluster.urlOf(nodeId), topicId, 0),
  )
  return { probe, nodeId }
}

function checkOldCoordinator({ fail, note }: FaultContext, answer: OldCoordinatorAnswer): void {
  note(`a committed offset, asked of its old coordinator: ${JSON.stringify(answer)}`)
  if (answer.kind === 'told' && answer.isOld) fail(`a coordinator that was given up told the offset ${answer.offset}`)
}

function checkZombie({ cluster, fail, note }: FaultContext, answer: { kind: string }, awayMs: number): void {
  note(`acks=leader after ${awayMs} ms: ${JSON.stringify(answer)}`)
  if (awayMs > cluster.leaseTtlMs && answer.kind === 'acknowledged')
    fail(`a leader whose lease had expired acknowledged acks=leader after ${awayMs} ms`)
}
