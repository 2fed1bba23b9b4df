import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WorkerPool } from '../../../src/broker/worker-pool.ts'
import { until } from '../../support/gateway-fixture.ts'

const entry = (code: string) => new URL(`data:text/javascript,${encodeURIComponent(code)}`)
const LIVES = entry('setInterval(() => {}, 1000)')
const ofShard = (shard: number, code: string) =>
  entry(
    `import { workerData } from 'node:worker_threads'; if (workerData.shard === ${shard}) { ${code} } else setInterval(() => {}, 1000)`,
  )

function pool(shardEntry: URL, diskEntry: URL) {
  const failed: [number, string][] = []
  const workers = new WorkerPool({
    shards: 2,
    shardEntry,
    diskEntry,
    workerDataOf: (shard) => ({ shard }),
    onFailed: (shard, reason) => failed.push([shard, reason]),
  })
  return { workers, failed }
}

test('a thread that throws, or ends, fails its shard once, with the reason; the other shard lives', async () => {
  for (const [shardEntry, diskEntry, reason] of [
    [ofShard(1, 'throw new Error("broken invariant")'), LIVES, /the shard thread ended: broken invariant/],
    [LIVES, ofShard(1, 'throw new Error("EIO")'), /the disk thread ended: EIO/],
    [ofShard(1, 'process.exit(3)'), LIVES, /the shard thread exited with code 3/],
    [ofShard(1, ''), LIVES, /the shard thread exited with code 0/],
  ] as const) {
    const { workers, failed } = pool(shardEntry, diskEntry)
    await until(() => failed.length > 0, 'the failure is seen')
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(failed.length, 1)
    assert.equal(failed[0]![0], 1)
    assert.match(failed[0]![1], reason)
    await workers.close(Promise.resolve())
    assert.equal(failed.length, 1)
  }
})

test('threads that end when they were asked to are no failure', async () => {
  const { workers, failed } = pool(entry('setTimeout(() => {}, 100)'), entry('setTimeout(() => {}, 100)'))
  workers.expectExit()
  await workers.online()
  await workers.close(new Promise((resolve) => setTimeout(resolve, 5_000)))
  assert.deepEqual(failed, [])
})
