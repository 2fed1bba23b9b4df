/** Fifo against an array. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fifo } from '../../../src/base/fifo.ts'
import { collectGarbage } from '../../support/garbage.ts'

test('as an array, over its compaction', () => {
  const fifo = new Fifo<number>()
  const model: number[] = []
  for (let step = 0; step < 20_000; step++) {
    if (step % 5 < 3) {
      fifo.push(step)
      model.push(step)
    } else assert.equal(fifo.shift(), model.shift())
    assert.equal(fifo.size, model.length)
    assert.equal(fifo.peek(), model[0])
  }
})

test('what was taken out or cleared is let go of, though the queue is never empty', async () => {
  const fifo = new Fifo<object>()
  const taken: WeakRef<object>[] = []
  for (let step = 0; step < 2_000; step++) {
    fifo.push({ step })
    fifo.push({ step })
    taken.push(new WeakRef(fifo.shift()!))
  }
  await collectGarbage()
  assert.equal(taken.filter((each) => each.deref() !== undefined).length, 0)
  assert.equal(fifo.size, 2_000)
  const left = new WeakRef(fifo.peek()!)
  fifo.clear()
  await collectGarbage()
  assert.equal(left.deref(), undefined)
  assert.equal(fifo.shift(), undefined)
})
