/** When a log is cut and when the wish for it ends: what it waits for is played by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LogCut, type LogCutOptions } from '../../../src/worker/log-cut.ts'
import type { PartitionAgent } from '../../../src/worker/partition-agent.ts'

test('a cut that was announced and is not wanted any more does not wait until its partition is idle', () => {
  const synced: (() => void)[] = []
  const calls: string[] = []
  const cuts = new LogCut({
    journal: undefined,
    syncedEnds: { set: () => {}, write: () => {} },
    group: { join: () => {}, afterSync: (then: () => void) => synced.push(then) },
    checkpointer: { hold: () => true, release: () => calls.push('released'), ask: () => calls.push('asked') },
  } as unknown as LogCutOptions)
  const partition = {
    ...{ partition: 0, syncedSlot: 0, isBusy: true, isCutting: false },
    ...{ log: { syncedEndOffset: 9 }, state: { logEndOffset: 9 } },
  } as unknown as PartitionAgent
  let isWanted = true
  const ended: boolean[] = []
  cuts.begin({
    ...{ partition, kind: 'truncate', offset: 5 },
    ...{ isWanted: () => isWanted, onEnded: (isCut) => void ended.push(isCut) },
  })
  for (let syncs = 0; syncs < 2; syncs++) {
    cuts.step()
    synced.shift()!()
  }
  cuts.step()
  assert.deepEqual(ended, [], 'it waits: the partition is busy')
  isWanted = false
  cuts.step()
  assert.deepEqual([ended, calls, cuts.isIdle, partition.isCutting], [[false], ['released', 'asked'], true, false])
})
