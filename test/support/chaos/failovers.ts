/**
 * Failovers: how long a partition is without acknowledgements when its leader goes, in each way it may go, many times over.
 *
 *   failover-kill      kill -9                                   the port refuses: the lease is revoked at once
 *   failover-pause     SIGSTOP                                   connections stay open: the lease decides
 *   failover-cut       nothing reaches it or leaves it           nothing refuses: the lease decides
 *   failover-restart   SIGTERM, started again                    leaders move first: the longest time without is wanted <= 500 ms
 *   failover-coordinator   kill -9 of a group's coordinator      from its new leader to the group's next commit: wanted <= 5 s
 *
 * Limits      ACK_MS_MAX for the first acknowledgement
 */
import { sleep, until } from '../until.ts'
import { BROKERS } from './chaos-cluster.ts'
import type { Fault, FaultContext, FaultOutcome } from './faults.ts'
import { GroupProbe } from './group-probe.ts'

const ACK_MS_MAX = 120_000
const CALM_MS = 500
/** In which the leader is well again, and everybody with it. */
const RESTART_GAP_MS_WANTED = 500

const COORDINATOR_MS_WANTED = 5_000

type Going = (context: FaultContext, nodeId: number) => { readonly isGone: Promise<void>; back(): Promise<void> }

const GOINGS: Readonly<Record<'kill' | 'pause' | 'cut', Going>> = {
  kill: ({ cluster }, nodeId) => ({
    isGone: cluster.broker(nodeId).kill(),
    back: () => cluster.broker(nodeId).start(),
  }),
  pause: ({ cluster }, nodeId) => ({
    isGone: Promise.resolve(cluster.broker(nodeId).pause()),
    back: async () => cluster.broker(nodeId).resume(),
  }),
  cut: ({ cluster }, nodeId) => ({
    isGone: Promise.resolve(
      cluster.network.cut([nodeId], ['client', ...BROKERS.filter((each) => each !== nodeId), ...cluster.etcd.hosts]),
    ),
    back: async () => cluster.network.heal(),
  }),
}

export const FAILOVERS: Readonly<Record<string, Fault>> = {
  'failover-kill': { what: 'kill -9 of a leader', run: (context) => failovers(context, GOINGS.kill) },
  'failover-pause': { what: 'a leader stands still', run: (context) => failovers(context, GOINGS.pause) },
  'failover-cut': { what: 'a leader is cut off', run: (context) => failovers(context, GOINGS.cut) },
  'failover-restart': { what: 'a leader is stopped in order and started again', run: restarts },
  'failover-coordinator': { what: 'kill -9 of the broker that coordinates a group', run: coordinators },
}

async function failovers(context: FaultContext, going: Going): Promise<FaultOutcome> {
  const { cluster, topic, partitions, acks, runs, note } = context
  const fromMs = performance.now()
  const tookMs: number[] = []
  for (let run = 0; run < runs; run++) {
    const partition = run % partitions
    const nodeId = await cluster.leaderOf(topic, partition)
    const goneMs = performance.now()
    const gone = going(context, nodeId)
    await gone.isGone
    const ackMs = await until('acknowledgement of a new leader', ACK_MS_MAX, async () => {
      const took = acks.firstAfter(goneMs, partition)
      return took !== undefined && { took }
    })
    tookMs.push(ackMs.took)
    await gone.back()
    await cluster.settle()
    await sleep(CALM_MS)
  }
  note(`${runs} runs, first new acknowledgement: ${quantiles(tookMs)} (lease ${cluster.leaseTtlMs} ms)`)
  return { span: { fromMs, toMs: performance.now() } }
}

async function restarts({ cluster, topic, partitions, acks, runs, note }: FaultContext): Promise<FaultOutcome> {
  const fromMs = performance.now()
  const gapsMs: number[] = []
  const anyGapsMs: number[] = []
  for (let run = 0; run < runs; run++) {
    const partition = run % partitions
    const nodeId = await cluster.leaderOf(topic, partition)
    const stoppedMs = performance.now()
    await cluster.broker(nodeId).stop()
    await cluster.broker(nodeId).start()
    await cluster.settle()
    await sleep(CALM_MS)
    const span = { fromMs: stoppedMs, toMs: performance.now() }
    gapsMs.push(acks.longestGapMs(span, partition))
    anyGapsMs.push(acks.longestGapMs(span))
  }
  note(
    `${runs} restarts, longest time without an acknowledgement (wanted: ${RESTART_GAP_MS_WANTED} ms): of one partition ` +
      `${quantiles(gapsMs)}; of all ${quantiles(anyGapsMs)}`,
  )
  return { span: { fromMs, toMs: performance.now() } }
}

async function coordinators({ cluster, topic, runs, note, fail }: FaultContext): Promise<FaultOutcome> {
  const fromMs = performance.now()
  const sinceLedMs: number[] = []
  const sinceKillMs: number[] = []
  const probe = await GroupProbe.start(cluster, topic)
  try {
    for (let run = 0; run < runs; run++) {
      const nodeId = await probe.coordinator()
      const goneMs = performance.now()
      await cluster.broker(nodeId).kill()
      await until('another coordinator', ACK_MS_MAX, async () => {
        const next = await probe.coordinator()
        return next > 0 && next !== nodeId
      })
      const ledMs = performance.now()
      const commitMs = await probe.commitAfter(ledMs)
      sinceLedMs.push(commitMs - ledMs)
      sinceKillMs.push(commitMs - goneMs)
      await probe.checkOffsets()
      await cluster.broker(nodeId).start()
      await cluster.settle()
      await sleep(CALM_MS)
      if (probe.faults.length > 0) fail(probe.faults.join('; '))
    }
  } finally {
    await probe.close()
  }
  const longestMs = Math.max(...sinceLedMs)
  if (longestMs > COORDINATOR_MS_WANTED)
    fail(`the group's next commit came ${longestMs.toFixed(0)} ms after its new coordinator`)
  note(
    `${runs} runs, next commit of the group: ${quantiles(sinceLedMs)} after its new coordinator was elected ` +
      `(wanted: ${COORDINATOR_MS_WANTED} ms), ${quantiles(sinceKillMs)} after the kill; no committed offset lost`,
  )
  return { span: { fromMs, toMs: performance.now() } }
}

function quantiles(valuesMs: readonly number[]): string {
  const sorted = [...valuesMs].sort((left, right) => left - right)
  const at = (share: number): string =>
    `${sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!.toFixed(0)} ms`
  return `p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`
}
