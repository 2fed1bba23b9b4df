/** disk-agent and disk-proxy over real rings: order, faults, bounds. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import { type ParallelSync, StorageError, type SyncFailure } from '../../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { createSignals } from '../../../src/ring/ring-signal.ts'
import { createShardChannel, openDiskSide, openShardSide } from '../../../src/ring/shard-channel.ts'
import { DiskAgent } from '../../../src/worker/disk-agent.ts'
import { DiskProxy } from '../../../src/worker/disk-proxy.ts'
import { ManualClock } from '../../support/log-fixture.ts'

function setUp({ readsInFlightMax = 64, diskReplyRingBytes = 16_384 } = {}) {
  const files = new FaultyFileSystem(new MemoryFileSystem())
  const fd = files.open('/file', 'create')
  files.write(fd, [new Uint8Array(100).fill(5)], 0)
  const channel = createShardChannel({
    ...{
      requestRingBytes: 4096,
      readRingBytes: 4096,
      replyRingBytes: 4096,
      diskRequestRingBytes: 16_384,
      diskReplyRingBytes,
    },
    ...{ pageBytes: 64, pageCount: 64, doorbell: createSignals() },
  })
  const events: string[] = []
  const side = openShardSide(channel)
  const proxy = new DiskProxy(
    side,
    { onRead: (_page, bytes, code) => void events.push(`read ${bytes}${code}`) },
    readsInFlightMax,
  )
  const clock = new ManualClock()
  const agent = new DiskAgent({ name: 'disk', side: openDiskSide(channel), files, clock })
  const sync = (fds: number[]) =>
    proxy.sync(
      fds,
      {
        onSynced: () => void events.push('sync'),
        onSyncFailed: (reason) => void events.push(`failed ${/E[A-Z]+/.exec(reason)?.[0]}`),
      },
      { isLong: false },
    )
  const read = (page: number, position = 0) => proxy.read({ page, fd, filePosition: position, from: 0, to: 64 })
  const run = () => {
    do proxy.publish()
    while (agent.doWork() + proxy.drain() > 0)
  }
  return { files, fd, proxy, agent, events, sync, read, run, side, clock }
}

test('a sync goes first, but after it some waiting reads', () => {
  const { events, sync, read, run, fd } = setUp()
  for (let page = 0; page < 12; page++) assert.ok(read(page))
  sync([fd])
  sync([fd])
  run()
  assert.deepEqual(
    events.map((event) => event.split(' ')[0]),
    ['sync', ...new Array<string>(8).fill('read'), 'sync', ...new Array<string>(4).fill('read')],
  )
})

test('a sync of more descriptors than one message holds is told once, also when it fails', () => {
  const { events, sync, run, fd, files } = setUp()
  sync(new Array<number>(200).fill(fd))
  run()
  assert.deepEqual(events, ['sync'])
  files.inject({ on: 'fdatasync', times: 3, effect: { kind: 'fail', code: 'EIO' } })
  sync(new Array<number>(200).fill(fd))
  run()
  assert.deepEqual(events, ['sync', 'failed EIO'])
})

test('reads out of memory wake the shard once for several, slow ones and those before a sync at once', () => {
  const { agent, proxy, read, sync, fd, files, side, clock } = setUp()
  /** How often the shard was rung by each of `turns` turns. */
  const rings = (turns: number): number[] =>
    Array.from({ length: turns }, () => {
      const before = side.signal.sequence()
      agent.doWork()
      return side.signal.sequence() - before
    })
  for (let page = 0; page < 6; page++) read(page)
  proxy.publish()
  assert.deepEqual(rings(7), [0, 0, 0, 1, 0, 1, 0])

  const readFile = files.read.bind(files)
  files.read = (...args) => {
    clock.ms += 1
    return readFile(...args)
  }
  for (let page = 6; page < 9; page++) read(page)
  proxy.publish()
  assert.deepEqual(rings(3), [1, 1, 1])

  files.read = readFile
  for (let page = 9; page < 11; page++) read(page)
  proxy.publish()
  assert.deepEqual(rings(1), [0])
  sync([fd])
  proxy.publish()
  const before = side.signal.sequence()
  let atSync = -1
  files.fdatasync = () => {
    atSync = side.signal.sequence() - before
  }
  agent.doWork()
  assert.equal(atSync, 1, 'the read that was done is told before the device is waited for')
})

test('a read past the end answers fewer bytes, one that fails its code', () => {
  const { events, read, run, files, side } = setUp()
  read(0, 64)
  run()
  assert.equal(side.pages.bytes(0)[35], 5)
  files.inject({ on: 'read', effect: { kind: 'fail', code: 'EIO' } })
  read(1)
  run()
  assert.deepEqual(events, ['read 36', 'read -1EIO'])
})

test('reads in flight are bounded', () => {
  const { read, run } = setUp({ readsInFlightMax: 2 })
  assert.deepEqual([read(0), read(1), read(2)], [true, true, false])
  run()
  assert.ok(read(2))
})

test('it stops when it is told to and nothing is left', () => {
  const { proxy, agent, run, sync, fd, events } = setUp()
  sync([fd])
  proxy.stop()
  run()
  assert.deepEqual(events, ['sync'])
  assert.ok(agent.isDone)
})

test('nobody reads its answers: it waits before the device is asked, and every answer comes once', () => {
  const { proxy, agent, events, sync, fd } = setUp({ diskReplyRingBytes: 1024 })
  for (let count = 0; count < 100; count++) sync([fd])
  const workUndrained = () => {
    proxy.publish()
    for (let turn = 0; turn < 200; turn++) agent.doWork()
  }
  workUndrained()
  proxy.drain()
  assert.ok(events.length > 0 && events.length < 100, `${events.length} answers fit the ring`)
  for (let round = 0; round < 50 && events.length < 100; round++) {
    workUndrained()
    proxy.drain()
  }
  assert.deepEqual(events, new Array<string>(100).fill('sync'))
})

test('a wide or a long sync is answered when all of it is done, as it ended; reads go on meanwhile, syncs wait', () => {
  const channel = createShardChannel({
    ...{
      readRingBytes: 4096,
      requestRingBytes: 4096,
      replyRingBytes: 4096,
      diskRequestRingBytes: 16_384,
      diskReplyRingBytes: 16_384,
    },
    ...{ pageBytes: 64, pageCount: 4, doorbell: createSignals() },
  })
  const events: string[] = []
  const proxy = new DiskProxy(openShardSide(channel), { onRead: () => void events.push('read') }, 4)
  const listener = {
    onSynced: () => void events.push('sync'),
    onSyncFailed: (reason: string) => void events.push(reason),
  }
  const begun: { fds: readonly number[]; done: (failure: SyncFailure | undefined) => void }[] = []
  const files = new MemoryFileSystem()
  const fd = files.open('/file', 'create')
  const parallel: ParallelSync = { begin: (fds, done) => void begun.push({ fds: [...fds], done }) }
  const agent = new DiskAgent({
    ...{ name: 'disk', side: openDiskSide(channel), files, clock: new ManualClock(), parallel },
  })
  const run = () => {
    do proxy.publish()
    while (agent.doWork() + proxy.drain() > 0)
  }
  proxy.sync([4, 5, 6], listener, { isLong: false })
  proxy.sync([7], listener, { isLong: true })
  proxy.stop()
  run()
  assert.deepEqual([begun.map(({ fds }) => fds), agent.isWaiting, events], [[[4, 5, 6]], true, []])
  for (const page of [0, 1]) assert.ok(proxy.read({ page, fd, filePosition: 0, from: 0, to: 64 }))
  run()
  assert.deepEqual([events.splice(0), begun.length, agent.isDone], [['read', 'read'], 1, false])
  begun[0]!.done(undefined)
  run()
  assert.deepEqual([events.splice(0), begun.length, agent.isDone], [['sync'], 2, false])
  begun[1]!.done({ fd: 7, error: new StorageError('EIO', 'no') })
  run()
  assert.equal(events.length, 1)
  assert.match(events[0]!, /descriptor 7 failed: EIO/)
  assert.ok(agent.isDone)
})
