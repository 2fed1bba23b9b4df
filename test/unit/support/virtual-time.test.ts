/** The seeded scheduler itself: one seed, one run; virtual time moves only when nothing is due. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualTime } from '../../support/simulation/virtual-time.ts'

/** Three tasks of promises and timers that draw chance; answers what they did. */
async function run(seed: number): Promise<{ log: string[]; hash: number }> {
  const time = new VirtualTime(seed)
  const log: string[] = []
  let done = 0
  const sleep = (ms: number, label: string) => new Promise<void>((resolve) => void time.after(ms, label, resolve))
  const task = async (name: string) => {
    for (let round = 0; round < 20; round++) {
      await sleep(time.prng.below(5), name)
      log.push(`${name}${round}@${time.monotonicMs()}`)
    }
    done++
  }
  for (const name of ['a', 'b', 'c']) void task(name)
  assert.equal(await time.runUntil(() => done === 3, 1_000), true)
  return { log, hash: time.traceHash }
}

test('a seed replays exactly, another seed does not', async () => {
  const first = await run(7)
  assert.deepEqual(await run(7), first)
  assert.notEqual((await run(8)).hash, first.hash)
})

test('time stands while something is due and jumps to the next timer', async () => {
  const time = new VirtualTime(1)
  const seen: number[] = []
  time.after(0, 'now', () => seen.push(time.monotonicMs()))
  time.after(86_400_000, 'tomorrow', () => seen.push(time.monotonicMs()))
  const cancelled = time.after(10, 'never', () => seen.push(-1))
  time.cancel(cancelled)
  await time.runUntil(() => seen.length === 2, 2 * 86_400_000)
  assert.deepEqual(seen, [0, 86_400_000])
})

test('a busy agent is stepped until it rests, then its deadline moves time', async () => {
  const time = new VirtualTime(1)
  let work = 5
  let woken = 0
  time.addAgent({
    name: 'agent',
    step: () => {
      if (work > 0) return work--
      if (time.monotonicMs() < 100 || woken > 0) return 0
      woken++
      return 1
    },
    deadlineMs: () => (woken > 0 ? Number.POSITIVE_INFINITY : 100),
  })
  assert.equal(await time.runUntil(() => woken === 1, 1_000), true)
  assert.equal(time.monotonicMs() >= 100 && time.monotonicMs() < 101, true)
})

test('the limits hold: time, and events without rest', async () => {
  const time = new VirtualTime(1)
  assert.equal(await time.runUntil(() => false, 50), false)
  assert.equal(time.monotonicMs(), 50)
  time.addAgent({ name: 'restless', step: () => 1, deadlineMs: () => 0 })
  await assert.rejects(
    time.runUntil(() => false, 50, 1_000),
    /no rest after 1000 events/,
  )
})
