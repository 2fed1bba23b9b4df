/** Several syncs at a time: done when all are, and a failure is never lost. The system's fdatasync is played by hand. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { afterEach, beforeEach, test } from 'node:test'
import type { SyncFailure } from '../../../src/io/file-system.ts'
import { NodeParallelSync } from '../../../src/io/node-parallel-sync.ts'

type Done = (error: NodeJS.ErrnoException | null) => void

const real = fs.fdatasync
/** Descriptor -> how to end its sync. */
const underWay = new Map<number, Done>()

beforeEach(() => {
  underWay.clear()
  fs.fdatasync = ((fd: number, done: Done) => void underWay.set(fd, done)) as typeof fs.fdatasync
  syncBuiltinESMExports()
})

afterEach(() => {
  fs.fdatasync = real
  syncBuiltinESMExports()
})

function end(fd: number, code?: string): void {
  const done = underWay.get(fd)
  assert.ok(done !== undefined, `${fd} is not under way`)
  underWay.delete(fd)
  done(code === undefined ? null : Object.assign(new Error('failed'), { code }))
}

function begin(count: number): (SyncFailure | undefined)[] {
  const answers: (SyncFailure | undefined)[] = []
  const fds = Array.from({ length: count }, (_, index) => index)
  new NodeParallelSync().begin(fds, (failure) => answers.push(failure))
  return answers
}

test('few are under way at a time, all are synced, and it is done once, after the last', () => {
  const answers = begin(20)
  let widest = 0
  for (let ended = 0; ended < 20; ended++) {
    widest = Math.max(widest, underWay.size)
    assert.deepEqual(answers, [], `${underWay.size} are under way`)
    end([...underWay.keys()].at(-1)!)
  }
  assert.deepEqual(answers, [undefined])
  assert.ok(widest > 1 && widest <= 4)
})

test('after a failure nothing more is begun, and it is told when what is under way has ended', () => {
  const answers = begin(20)
  const [first, second, ...others] = [...underWay.keys()]
  end(first!)
  const begun = underWay.size
  end(second!, 'EIO')
  assert.equal(underWay.size, begun - 1)
  assert.equal(answers.length, 0 as number)
  for (const fd of [...underWay.keys()]) end(fd, fd === others[0] ? 'ENOSPC' : undefined)
  assert.equal(answers.length, 1)
  assert.deepEqual([answers[0]!.fd, (answers[0]!.error as { code?: string }).code], [second, 'EIO'])
})

test('the failure of the last one counts', () => {
  const answers = begin(1)
  end(0, 'EIO')
  assert.equal(answers[0]!.fd, 0)
})
