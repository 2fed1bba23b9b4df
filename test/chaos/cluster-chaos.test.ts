/**
 * Three brokers and three members of etcd as real processes on hosts of their own (network namespaces), a workload, and faults: the history
 * is valid, every partition comes back, the replicas are the same bytes.
 *
 *   npm run test:chaos                                   faults in an order drawn from the seed, as many as the budget allows
 *   npm run test:chaos -- --fault NAME --seconds 300     one of test/support/chaos/faults.ts, over and over; or several, with commas
 *   npm run test:chaos -- --fault failover-kill --runs 30   how long until the next acknowledgement; also -pause, -cut, -restart, and
 *                                                        -coordinator: until a group's next commit
 *   npm run test:chaos -- --clients kafkajs              the same, where producers, consumers and the pipeline are kafkajs at the Kafka
 *                                                        listeners; also with --fault. Without --clients one fault is, the rest is not
 *   npm run test:chaos -- --seed N                       the same order and choices again; when they meet the processes is the machine's
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { budgetMs, environmentNumber, freshSeed } from '../support/budget.ts'
import { type ChaosClients, type ChaosPlan, EXIT_UNAVAILABLE } from '../support/chaos/chaos-plan.ts'
import { FAULTS } from '../support/chaos/faults.ts'
import { findLaboratory, runInLaboratory } from '../support/chaos/laboratory.ts'
import { buildClockShim } from '../support/clock-shim/clock-shim.ts'
import { findEtcd } from '../support/etcd-process.ts'
import { buildFsyncShim } from '../support/fsync-shim/fsync-shim.ts'
import { makeSmallDisk } from '../support/small-disk.ts'

/** Start, coming back after the last fault, and judgement. */
const AROUND_MS = 45_000
const HANG_MS = 600_000
const LEASE_TTL_MS = 4_000
/** That of brokers which nobody told otherwise: failovers are measured with it. */
const LEASE_TTL_DEFAULT_MS = 8_000
const RUNS = 30
const DISK_PROBE_BYTES = 1024 * 1024
const HOLD_MS = 8_000
const LONG_HOLD_MS = 20_000
const ETCD_DOWN_MS = 60_000
const RECORDS_PER_SECOND = 300
const CLIENTS: readonly ChaosClients[] = ['native', 'kafkajs']
/** One of them, where nothing is asked for: those that move leaders and coordinators. */
const KAFKAJS_FAULTS = ['kill', 'rolling', 'pause']
/** Of the budget that the one fault on clients of kafkajs has. */
const KAFKAJS_MS = 30_000

/** Faults that cannot be done here, with the reason. */
function missing(): Map<string, string> {
  const tools = { clock: buildClockShim(), fsync: buildFsyncShim(), 'disk-full': makeSmallDisk(DISK_PROBE_BYTES) }
  const reasons = new Map<string, string>()
  for (const [fault, tool] of Object.entries(tools)) {
    if (tool.kind === 'ready') tool.dispose()
    else reasons.set(fault, tool.reason)
  }
  return reasons
}

/** What one test is to do. */
interface Asked {
  readonly clients: ChaosClients
  readonly faults: readonly string[]
  /** No fault begins after it. */
  readonly budgetMs: number
}

/**
 *   --fault   --clients     what is run
 *   -         -             faults of the seed's order on native clients within the budget; and one on clients of kafkajs
 *   -         given         faults of the seed's order on those clients, within the budget
 *   given     - or given    these faults, each once at least, on native clients or those that were given
 */
function asked(seed: number): Asked[] {
  const { MILLRACE_FAULT: names = '', MILLRACE_CLIENTS: given = '' } = process.env
  const clients = CLIENTS.find((each) => each === given)
  if (given !== '' && clients === undefined) throw new Error(`'${given}' is not one of ${CLIENTS.join(', ')}`)
  const all = budgetMs(115_000) - AROUND_MS
  if (names !== '') return [{ clients: clients ?? 'native', faults: names.split(','), budgetMs: all }]
  const faults = shuffled(Object.keys(FAULTS), new SeededPrng(seed))
  if (clients !== undefined) return [{ clients, faults, budgetMs: all }]
  const one = KAFKAJS_FAULTS[seed % KAFKAJS_FAULTS.length]!
  return [
    { clients: 'native', faults, budgetMs: all - KAFKAJS_MS },
    { clients: 'kafkajs', faults: [one], budgetMs: 0 },
  ]
}

function planOf(seed: number, etcdProgram: string, { clients, faults: wanted, budgetMs }: Asked): ChaosPlan {
  const isCut = (process.env.MILLRACE_FAULT ?? '') === ''
  const left = isCut ? missing() : new Map<string, string>()
  for (const [fault, reason] of left) console.log(`chaos: reached no ${fault}: ${reason}`)
  const faults = wanted.filter((name) => !left.has(name))
  const isFailover = faults.some((name) => name.startsWith('failover-'))
  const holdMs = isCut ? HOLD_MS : faults.includes('etcd-down') ? ETCD_DOWN_MS : LONG_HOLD_MS
  return {
    ...{ seed, clients, etcdProgram, faults, isCut, isPipelined: !isFailover },
    recordsPerSecond: environmentNumber('MILLRACE_RECORDS_PER_SECOND', RECORDS_PER_SECOND),
    budgetMs: Math.max(0, budgetMs),
    holdMs: environmentNumber('MILLRACE_HOLD_MS', holdMs),
    runs: environmentNumber('MILLRACE_RUNS', RUNS),
    leaseTtlMs: environmentNumber('MILLRACE_LEASE_MS', isFailover ? LEASE_TTL_DEFAULT_MS : LEASE_TTL_MS),
  }
}

function shuffled(names: readonly string[], prng: SeededPrng): string[] {
  const rest = [...names]
  return names.map(() => rest.splice(prng.below(rest.length), 1)[0]!)
}

async function run(context: TestContext, seed: number, asked: Asked): Promise<void> {
  const laboratory = findLaboratory()
  const etcd = findEtcd()
  if (laboratory.kind === 'unavailable') return context.skip(laboratory.reason)
  if (etcd.kind === 'absent') return context.skip(etcd.reason)
  const plan = planOf(seed, etcd.program, asked)
  const { clients } = plan
  console.log(`chaos: seed ${seed}, ${clients} clients, faults in order: ${plan.faults.join(' ')}`)
  const lines: string[] = []
  const { code, talk } = await runInLaboratory({
    ...{ program: 'chaos-run.js', plan, timeoutMs: plan.budgetMs + HANG_MS },
    onLine: (line) => {
      lines.push(line)
      console.log(`chaos: reached ${line}`)
    },
  })
  if (code === EXIT_UNAVAILABLE) return context.skip(lines.at(-1) ?? 'a tool is missing')
  const wrong = lines.filter((line) => line.startsWith('WRONG'))
  const again = `npm run test:chaos -- --clients ${clients} --fault ${plan.faults.join()} --seed ${seed}`
  if (code !== 0) console.log(`${talk.slice(-40_000)}\nrepeat: ${again}`)
  assert.equal(code, 0, `seed ${seed}: ${wrong.join('\n')}`)
}

const seed = freshSeed()
for (const each of asked(seed))
  test(`a cluster of real processes under faults, ${each.clients} clients`, { timeout: 24 * 3_600_000 }, (context) => {
    return run(context, seed, each)
  })
