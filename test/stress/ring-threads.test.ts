/**
 * Rings, signals, doorbell and pages on real threads. MILLRACE_BUDGET_MS (default 4000) is shared by the tests, MILLRACE_SEED
 * replays their sizes (not the threads' timing).
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import { createRing } from '../../src/ring/ring-layout.ts'
import { createSignals, Doorbell, RingSignal } from '../../src/ring/ring-signal.ts'
import { createShardChannel, openGatewaySide, openShardSide, type ShardChannel } from '../../src/ring/shard-channel.ts'
import { checkFrame, fillFrame, STRESS_END, STRESS_FRAME, STRESS_PAGE } from './ring-frames.ts'

const budgetMs = Number(process.env.MILLRACE_BUDGET_MS ?? 4000)
const seed = Number(process.env.MILLRACE_SEED ?? systemClock.nowMs() % 1_000_000)
const reproduce = `MILLRACE_SEED=${seed} MILLRACE_BUDGET_MS=${budgetMs} node --test dist/test/stress/ring-threads.test.js`

function makeChannel(initialPosition: number): ShardChannel {
  const channel = createShardChannel({
    requestRingBytes: 4096,
    readRingBytes: 256,
    replyRingBytes: 1024,
    diskRequestRingBytes: 256,
    diskReplyRingBytes: 256,
    pageBytes: 512,
    pageCount: 3,
    doorbell: createSignals(),
  })
  return {
    ...channel,
    requestRing: createRing({ capacityBytes: 4096, initialPosition }),
    replyRing: createRing({ capacityBytes: 1024, initialPosition }),
  }
}

function startPeer(channel: ShardChannel, role: string): Worker {
  return new Worker(new URL('./ring-peer.js', import.meta.url), { workerData: { channel, role } })
}

/** Streams frames of random sizes to an echoing shard for `forMs`, woken by the doorbell only; how many came back. */
async function stream(initialPosition: number, forMs: number): Promise<number> {
  const channel = makeChannel(initialPosition)
  const { requests, replies, shardSignal } = openGatewaySide(channel)
  const prng = new SeededPrng(seed)
  const worker = startPeer(channel, 'echo')
  const exit = once(worker, 'exit')
  const sent: number[] = []
  let [sentCount, answered] = [0, 0]
  const untilMs = systemClock.monotonicMs() + forMs
  await new Promise<void>((resolve, reject) => {
    worker.on('error', reject)
    const keepAlive = setInterval(() => {
      if (systemClock.monotonicMs() > untilMs + 10_000)
        fail(new Error(`stuck: ${sentCount} sent, ${answered} answered; ${reproduce}`))
    }, 500)
    const doorbell = new Doorbell(channel.doorbell, turn)
    let isEndSent = false
    const end = () => {
      clearInterval(keepAlive)
      doorbell.close()
    }
    const fail = (error: unknown) => {
      end()
      reject(error)
    }
    function turn(): void {
      try {
        while (replies.next()) {
          if (replies.type === STRESS_END) {
            end()
            resolve()
            return
          }
          answered++
          assert.equal(replies.view.getUint32(replies.at, true), answered, reproduce)
          assert.equal(replies.view.getUint32(replies.at + 4, true), sent.shift(), reproduce)
          // A slow reader now and then: the shard finds its reply ring full.
          if (prng.below(300) === 0) break
        }
        const isWanted = replies.release()
        let isFull = false
        while (!isFull && !isEndSent) {
          const isLast = systemClock.monotonicMs() > untilMs
          const payloadBytes = 4 + 4 * prng.below(prng.below(4) === 0 ? requests.frameBytesMax / 4 - 1 : 40)
          const at = requests.claim(isLast ? STRESS_END : STRESS_FRAME, payloadBytes, 'data')
          if (at < 0) isFull = true
          else if (isLast) isEndSent = true
          else {
            fillFrame(requests, { at, payloadBytes, sequence: sentCount++ })
            sent.push(payloadBytes)
            if (prng.below(4) === 0) requests.publish()
          }
        }
        if (requests.hasUnpublished || isWanted || isFull || isEndSent) {
          requests.publish()
          shardSignal.ring()
        }
        if (replies.isEmpty()) doorbell.arm()
        else setImmediate(turn)
      } catch (error) {
        fail(error)
      }
    }
    turn()
  })
  await exit
  return answered
}

describe('on real threads', () => {
  for (const [name, initialPosition] of [
    ['2^31', 2 ** 31 - 32_768],
    ['2^32', 2 ** 32 - 32_768],
  ] as const)
    test(`frames of every size arrive whole and in order across ${name}`, async (context) => {
      const frames = await stream(initialPosition, budgetMs * 0.35)
      context.diagnostic(`${frames} frames there and back`)
      assert.ok(frames > 200, `only ${frames} frames: the ring did not cross the wrap`)
    })

  test('pages go out and come back, and are never written while lent', async (context) => {
    const channel = makeChannel(0)
    const { diskRequests, diskSignal, signal, pages } = openShardSide(channel)
    const worker = startPeer(channel, 'disk')
    const exit = once(worker, 'exit')
    const failed = once(worker, 'error').then(([error]) => Promise.reject(error))
    failed.catch(() => undefined)
    await Promise.race([once(worker, 'online'), failed])
    let loans = 0
    const untilMs = systemClock.monotonicMs() + budgetMs * 0.2
    while (systemClock.monotonicMs() < untilMs) {
      const sequence = signal.sequence()
      const page = pages.acquire()
      if (page < 0) {
        signal.wait(sequence, 1000)
        // The peer may have died of what it saw: its error event needs this thread's loop.
        if (signal.sequence() === sequence) await Promise.race([sleep(0), failed])
        continue
      }
      loans++
      pages.bytes(page).fill(loans & 255)
      pages.retain(page)
      const at = diskRequests.claim(STRESS_PAGE, 8, 'data')
      assert.ok(at >= 0, '3 pages are never too many for the ring')
      diskRequests.view.setUint32(at, page, true)
      diskRequests.view.setUint32(at + 4, loans, true)
      diskRequests.publish()
      diskSignal.ring()
      pages.release(page)
    }
    diskRequests.claim(STRESS_END, 0, 'control')
    diskRequests.publish()
    diskSignal.ring()
    await Promise.race([exit, failed])
    context.diagnostic(`${loans} loans`)
    assert.equal(pages.pagesInUse(), 0)
    assert.ok(loans > 100)
  })

  test('a writer that dies in mid-stream leaves only whole frames, and a sleeping one can be ended', async () => {
    for (let round = 0; round < 3; round++) {
      const channel = makeChannel(2 ** 31 - 1024)
      const { replies, shardSignal } = openGatewaySide(channel)
      const worker = startPeer(channel, 'flood')
      let [frames, isGone] = [0, false]
      const exit = once(worker, 'exit').then(() => (isGone = true))
      const drain = () => {
        while (replies.next()) checkFrame(replies, frames++)
        if (replies.release()) shardSignal.ring()
      }
      const deadlineMs = systemClock.monotonicMs() + 10_000
      while (frames < 500 * (round + 1) && systemClock.monotonicMs() < deadlineMs) {
        drain()
        await sleep(0)
      }
      assert.ok(frames > 0)
      // Round 2 lets it run into the full ring and sleep: terminate() must end a thread in Atomics.wait.
      if (round === 2) await sleep(20)
      await worker.terminate()
      await exit
      assert.ok(isGone)
      drain()
      assert.equal(replies.next(), false, 'nothing half written is visible')
    }
  })
})

describe('an armed doorbell', () => {
  test('does not keep the process alive', () => {
    const signal = new URL('../../src/ring/ring-signal.js', import.meta.url).href
    const script = `import { createSignals, Doorbell } from '${signal}'; new Doorbell(createSignals(), () => {}).arm()`
    const result = spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 10_000 })
    assert.deepEqual([result.status, result.signal], [0, null])
  })

  test('that was rung before it was armed is answered in the next turn, not at the next timer', async () => {
    const memory = createSignals()
    const keepAlive = setInterval(() => undefined, 5000)
    const startMs = systemClock.monotonicMs()
    await new Promise<void>((resolve) => {
      const doorbell = new Doorbell(memory, resolve)
      new RingSignal(memory).ring()
      doorbell.arm()
    })
    clearInterval(keepAlive)
    assert.ok(systemClock.monotonicMs() - startMs < 4000)
  })

  test('wakes a main thread that sleeps in its event loop at once, not at its next timer', async () => {
    const doorbell = createSignals()
    const rung = new Promise<number>((resolve) => {
      new Doorbell(doorbell, () => resolve(systemClock.monotonicMs())).arm()
    })
    const ringer = `const { workerData } = require('node:worker_threads')
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
      Atomics.add(workerData, 0, 1); Atomics.notify(workerData, 0)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5000)`
    const startMs = systemClock.monotonicMs()
    const worker = new Worker(ringer, { eval: true, workerData: new Int32Array(doorbell) })
    const rungMs = (await rung) - startMs
    await worker.terminate()
    assert.ok(rungMs < 4000, `woken after ${rungMs} ms, when the worker ended`)
  })
})
