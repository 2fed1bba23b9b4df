/** What a shard without room is told again, and what is not told any more because something newer is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LatestWords } from '../../../../src/broker/cluster/latest-words.ts'
import { MillraceError } from '../../../../src/model/errors.ts'
import { ManualTimers } from '../../../support/manual-timers.ts'

class Stage {
  readonly timers = new ManualTimers()
  readonly heard: string[] = []
  readonly faults: unknown[] = []
  fault: MillraceError | undefined
  readonly words = new LatestWords<string>({ timers: this.timers, onFault: (error) => this.faults.push(error) })

  async tell(subject: string, word: string): Promise<void> {
    this.words.tell(subject, async () => {
      if (this.fault !== undefined) throw this.fault
      this.heard.push(`${subject} ${word}`)
    })
    await settle()
  }

  async advance(ms: number): Promise<void> {
    this.timers.advance(ms)
    await settle()
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('a shard without room is told again until it has taken the word', async () => {
  const stage = new Stage()
  stage.fault = new MillraceError('OVERLOADED')
  await stage.tell('acks', 'suspended')
  await stage.advance(1_000)
  assert.deepEqual(stage.heard, [])
  stage.fault = undefined
  await stage.advance(1_000)
  await stage.advance(1_000)
  assert.deepEqual([stage.heard, stage.faults], [['acks suspended'], []])
})

test('an older word is dropped when a newer one is told, also one that is taken at once', async () => {
  const stage = new Stage()
  stage.fault = new MillraceError('OVERLOADED')
  await stage.tell('acks', 'suspended')
  await stage.tell('config', 'a')
  stage.fault = undefined
  await stage.tell('acks', 'open')
  await stage.advance(1_000)
  assert.deepEqual(stage.heard, ['acks open', 'config a'])
})

test('a shard that has ended is told nothing again; nor is anybody after close', async () => {
  const stage = new Stage()
  stage.fault = new MillraceError('KAFKA_STORAGE_ERROR', 'it ended')
  await stage.tell('acks', 'suspended')
  stage.fault = new MillraceError('OVERLOADED')
  await stage.tell('config', 'a')
  stage.words.close()
  stage.fault = undefined
  await stage.advance(1_000)
  assert.deepEqual([stage.heard, stage.faults.length], [[], 1])
})
