/** What a cluster's bench says of the machine beside its figures. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LOAD_MAX, MachineLoad } from '../../../native-free-bench/cluster/machine-load.ts'

test('a load above the bound is marked, one at it is not', async () => {
  const loads = [0.5, LOAD_MAX, LOAD_MAX + 0.1]
  const load = new MachineLoad({ loadAverage: () => loads.shift()! })
  for (let run = 0; run < 3; run++) assert.equal(await load.during(async () => run), run)
  assert.equal(load.text(), '  load average before each run: 0.5, 3.0, 3.1 (above 3)')
})

test('what the bench itself took is not counted as taken by others', async () => {
  let own = 0
  const load = new MachineLoad({ ownCpu: () => own, loadAverage: () => 0 })
  await load.during(async () => {
    own += 1_000
  })
  assert.match(load.text(), /; cores that others took, etcd among them: 0\.00$/)
})
