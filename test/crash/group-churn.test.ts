/**
 * Churn of consumer groups: real processes join, leave, are killed, stopped and blocked while records flow. Several groups at a time,
 * each with a topic and a producer of its own, over one broker process.
 *
 *   - what was acknowledged is handled, at least once; of each key in order; within an ownership offsets rise
 *   - an ownership begins at the committed offset and skips nothing that has not been handled
 *   - committed offsets cover only what was handled, and never fall
 *   - what was given up in order is not handled again, nor on
 *   - no partition is without a live owner for longer than the session timeout + 2 s after the last change
 *
 * The rules are in ownership-checker.ts and owner-watch.ts of test/support/group-crashes. Those of order and offsets hold however slow
 * the machine is; the one about time takes off what the machine stood still, and says what it excused.
 *
 *   npm run test:crash -- --churns 5000 [--seed N]
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { budgetMs, environmentNumber, freshSeed, withinBudget } from '../support/budget.ts'
import { Churn, type Misfortune } from '../support/group-crashes/churn.ts'
import { StallProbe } from '../support/group-crashes/stall-probe.ts'

const GROUPS = 4
const PARTITIONS = 6
const RECORDS_PER_SECOND = 80
const SESSION_MS = 2_500
/** The end takes a session or two. */
const END_MS = 8_000

test('a group under churn loses, reorders and forgets nothing', { timeout: 24 * 3_600_000 }, async () => {
  const seed = freshSeed()
  const prng = new SeededPrng(seed)
  const asked = process.env.MILLRACE_CHURNS === undefined ? undefined : environmentNumber('MILLRACE_CHURNS', 0)
  const limitMs = Math.max(0, budgetMs(25_000) - END_MS)
  const startedMs = performance.now()
  const dataDir = makeDataDir()
  const broker = await BrokerProcess.start({ dataDir })
  const client = await connect(broker.url)
  const probe = new StallProbe(broker.url)
  const churns = Array.from({ length: GROUPS }, (_, index) => {
    const order = index % 2 === 0 ? 'partition' : 'key'
    return new Churn({
      ...{
        client,
        url: broker.url,
        name: `churn-${index}`,
        folder: dataDir,
        prng: new SeededPrng(prng.uint32()),
        probe,
      },
      ...{ partitions: PARTITIONS, recordsPerSecond: RECORDS_PER_SECOND, sessionTimeoutMs: SESSION_MS },
      ...{ semantics: 'at-least-once', order },
    })
  })
  const sum = (of: (churn: Churn) => number): number => churns.reduce((total, churn) => total + of(churn), 0)
  let isFailed = false
  const mayGoOn = (): boolean =>
    !isFailed && withinBudget({ startedMs, done: sum(({ events }) => events), asked, budgetMs: limitMs })
  const violations = (): string[] =>
    churns.flatMap(({ group, watch }) => [...group.checker.violations, ...watch.violations, ...group.faults])
  try {
    const runs = churns.map((churn) =>
      churn
        .run(() => mayGoOn() && violations().length === 0)
        .catch((error: unknown) => {
          isFailed = true
          throw error
        }),
    )
    const ended = await Promise.allSettled(runs)
    assert.deepEqual(violations().slice(0, 10), [])
    for (const each of ended) if (each.status === 'rejected') throw each.reason
    assert.ok(sum(({ group }) => group.checker.counts.handled) > 0, 'something was handled')
  } catch (error) {
    console.log(`seed ${seed}, ${sum(({ events }) => events)} events; the broker said:\n${broker.talk.slice(-4_000)}`)
    console.log(`repeat: npm run test:crash -- --churns ${sum(({ events }) => events)} --seed ${seed}`)
    throw error
  } finally {
    for (const { group } of churns) await group.close()
    await probe.close()
    await client.close().catch(() => {})
    await broker.kill()
    removeDataDir(dataDir)
  }
  const seconds = (performance.now() - startedMs) / 1_000
  const events = sum(({ events }) => events)
  const kinds = Object.keys(churns[0]!.counts) as Misfortune[]
  const counted = kinds.map((kind) => `${sum(({ counts }) => counts[kind])} ${kind}`).join(', ')
  const { stoodMs, lateMs } = probe.within()
  const gapMsMax = Math.max(...churns.map(({ watch }) => watch.gapMsMax))
  const ofAll = (count: keyof (typeof churns)[0]['group']['checker']['counts']): number =>
    sum(({ group }) => group.checker.counts[count])
  console.log(
    `group-churn: reached ${events} events (${counted}), ${(events / seconds).toFixed(1)}/s; ` +
      `${sum(({ group }) => group.acknowledged)} acknowledged, ${ofAll('handled')} handled, ${ofAll('repeated')} of them again; ` +
      `ownerships: ${ofAll('revoked')} revoked, ${ofAll('lost')} lost, ${ofAll('died')} died; ` +
      `${sum(({ watch }) => watch.gaps)} gaps without an owner, the longest ${gapMsMax.toFixed(0)} of ${SESSION_MS + 2_000} ms, ` +
      `${sum(({ watch }) => watch.excused)} excused; the machine stood still for ${(stoodMs / 1_000).toFixed(1)} s ` +
      `of ${seconds.toFixed(0)}, was late for ${(lateMs / 1_000).toFixed(1)}; seed ${seed}`,
  )
})
