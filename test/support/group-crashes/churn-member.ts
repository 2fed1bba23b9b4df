/**
 * A process that is a member of a group and journals what it handles, for tests that kill, stop and block members:
 *
 *   node churn-member.js '{ MemberPlan as JSON }'
 *
 * At-least-once: a record is handled -> journalled -> may be committed. At-most-once: committed -> handed out -> handled -> journalled.
 * Killed in between, the first leaves a record that is journalled and not committed, which comes again; the second one that is
 * committed and not journalled, which is lost.
 *
 * Its parent tells it by IPC to block its event loop ({ blockMs }) or to leave ({ leave: true }); without a parent it ends.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { SeededPrng } from '../../../src/base/prng.ts'
import { type ConsumedRecord, connect, type Group } from '../../../src/client/index.ts'
import { JournalWriter, OWNERSHIPS_PER_MEMBER } from './member-journal.ts'

export interface MemberPlan {
  readonly url: string
  readonly groupId: string
  readonly topic: string
  readonly journal: string
  /** From 1; of no other member of the run. */
  readonly member: number
  readonly seed: number
  readonly semantics: 'at-least-once' | 'at-most-once'
  readonly order: 'partition' | 'key'
  readonly sessionTimeoutMs: number
}

export interface MemberCommand {
  readonly blockMs?: number
  readonly leave?: true
}

/** The broker may be away, or the machine slow. */
const CONNECT_MS = 120_000
const CONCURRENCY = 4
const AUTO_COMMIT_MS = 200
/** Blocks are shorter than the first and may be longer than the second. */
const REBALANCE_MS = 20_000
const POLL_INTERVAL_MS_MAX = 4_000
/** A handler ends in the end, however slow the machine is: nothing is given up half-way. */
const CLOSE_MS = 120_000
/** One record of so many takes a while, so that there is a middle to be killed in. */
const SLOW_ONE_OF = 4
const SLOW_MS_MAX = 5

const plan = JSON.parse(process.argv[2]!) as MemberPlan
const { topic, order } = plan
const journal = new JournalWriter(plan.journal, plan)
const prng = new SeededPrng(plan.seed)
const decoder = new TextDecoder()
/** partition -> its present ownership */
const ownerships = new Map<number, number>()
let ownershipCount = plan.member * OWNERSHIPS_PER_MEMBER
let blockMs = 0

function listen(group: Group): void {
  group.on('assigned', ({ partitions }) => {
    const positions = group.stats().partitions
    for (const { partition } of partitions) {
      ownerships.set(partition, ++ownershipCount)
      journal.assigned(ownershipCount, partition, positions.find((each) => each.partition === partition)!.offset)
    }
  })
  group.on('fenced', () => journal.note('fenced'))
  for (const note of ['revoked', 'lost'] as const)
    group.on(note, ({ partitions }) => {
      for (const { partition } of partitions) {
        const ownership = ownerships.get(partition)
        ownerships.delete(partition)
        if (ownership !== undefined) journal.note(note, ownership, partition) // lost before it was seen
      }
    })
  for (const note of ['committed', 'commitFailed'] as const)
    group.on(note, ({ offsets }) => {
      for (const { partition, offset } of offsets) journal.note(note, ownerships.get(partition), partition, offset)
    })
}

async function handle({ partition, offset, value }: ConsumedRecord): Promise<void> {
  const ownership = ownerships.get(partition) ?? 0
  const text = decoder.decode(value!)
  if (blockMs > 0) block()
  if (prng.below(SLOW_ONE_OF) === 0) await sleep(1 + prng.below(SLOW_MS_MAX))
  journal.handled(ownership, partition, offset, text)
}

/** The event loop stands still, the threads beside it do not. */
function block(): void {
  const ms = blockMs
  blockMs = 0
  journal.note('blocked')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
  journal.note('unblocked')
}

const endWithParent = (): void => process.exit(1)
process.once('disconnect', endWithParent)
const mq = await connect(plan.url, { connectWaitMs: CONNECT_MS, backoffMsMin: 10, backoffMsMax: 200 })
const group = mq.group(plan.groupId, topic, {
  ...{ from: 'start', semantics: plan.semantics, autoCommitIntervalMs: AUTO_COMMIT_MS },
  ...{ sessionTimeoutMs: plan.sessionTimeoutMs, rebalanceTimeoutMs: REBALANCE_MS },
  ...{ pollIntervalMsMax: POLL_INTERVAL_MS_MAX, closeTimeoutMs: CLOSE_MS },
})
listen(group)
process.on('message', (command: MemberCommand) => {
  if (command.leave) void group.close()
  else blockMs = command.blockMs ?? 0
})
journal.note('started')
await group.run(handle, { concurrency: CONCURRENCY, order })
journal.note('closed')
await mq.close()
process.off('disconnect', endWithParent)
process.disconnect()
