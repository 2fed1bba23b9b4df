/** Where replicas lie: even, over racks, the same for the same seed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type PlacementBroker, placeReplicas } from '../../../../src/coordination/controller/placement.ts'

function brokersOf(racks: readonly (string | null)[]): PlacementBroker[] {
  return racks.map((rack, index) => ({ nodeId: index + 1, rack, replicas: 0, leaders: 0 }))
}

function spreadOf(counts: readonly number[]): number {
  return Math.max(...counts) - Math.min(...counts)
}

function countsOf(brokers: readonly PlacementBroker[], sets: readonly (readonly number[])[]) {
  const replicas = brokers.map(({ nodeId }) => sets.filter((set) => set.includes(nodeId)).length)
  const leaders = brokers.map(({ nodeId }) => sets.filter((set) => set[0] === nodeId).length)
  return { replicas, leaders }
}

const sizes = {
  partitions: fc.integer({ min: 1, max: 40 }),
  replicas: fc.integer({ min: 1, max: 5 }),
  seed: fc.nat(),
}

test('placement: without racks counts differ by at most one, and partitions are whole', () => {
  const wish = fc.record({ ...sizes, brokers: fc.integer({ min: 1, max: 9 }) })
  fc.assert(
    fc.property(wish, ({ brokers: count, replicas: wanted, ...rest }) => {
      const brokers = brokersOf(Array.from({ length: count }, () => null))
      const replicas = Math.min(wanted, count)
      const sets = placeReplicas({ ...rest, brokers, replicas, existing: [] })
      assert.equal(sets.length, rest.partitions)
      for (const set of sets) assert.deepEqual([set.length, new Set(set).size], [replicas, replicas])
      const counts = countsOf(brokers, sets)
      assert.ok(spreadOf(counts.replicas) <= 1, `replicas ${counts.replicas}`)
      assert.ok(spreadOf(counts.leaders) <= 1, `leaders ${counts.leaders}`)
      assert.deepEqual(placeReplicas({ ...rest, brokers: brokers.toReversed(), replicas, existing: [] }), sets)
    }),
    { numRuns: 500 },
  )
})

test('placement: racks of one size stay even; racks of any size are all used', () => {
  const wish = fc.record({
    ...sizes,
    racks: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
    isEven: fc.boolean(),
  })
  fc.assert(
    fc.property(wish, ({ racks, isEven, replicas: wanted, ...rest }) => {
      const rackSizes = isEven ? racks.map(() => racks[0]!) : racks
      const names = rackSizes.flatMap((size, rack) => Array.from({ length: size }, () => `r${rack}`))
      const brokers = brokersOf(names)
      const replicas = Math.min(wanted, brokers.length)
      const sets = placeReplicas({ ...rest, brokers, replicas, existing: [] })
      for (const set of sets) {
        assert.equal(new Set(set).size, replicas)
        const used = new Set(set.map((nodeId) => names[nodeId - 1]))
        assert.equal(used.size, Math.min(replicas, racks.length))
      }
      if (!isEven) return
      const counts = countsOf(brokers, sets)
      assert.ok(spreadOf(counts.replicas) <= 1, `replicas ${counts.replicas}`)
      assert.ok(spreadOf(counts.leaders) <= 1, `leaders ${counts.leaders}`)
    }),
    { numRuns: 500 },
  )
})

test('placement: a replica goes by way of a third broker where racks let none go straight', () => {
  for (const { racks, partitions, replicas, seed } of [
    { racks: [3, 3, 3, 3], partitions: 36, replicas: 5, seed: 963851868 },
    { racks: [4, 4, 4, 4], partitions: 8, replicas: 2, seed: 25332881 },
  ]) {
    const names = racks.flatMap((size, rack) => Array.from({ length: size }, () => `r${rack}`))
    const brokers = brokersOf(names)
    const counts = countsOf(brokers, placeReplicas({ brokers, existing: [], partitions, replicas, seed }))
    assert.ok(spreadOf(counts.replicas) <= 1, `replicas ${counts.replicas}`)
    assert.ok(spreadOf(counts.leaders) <= 1, `leaders ${counts.leaders}`)
  }
})

test('placement: partitions that are added even out what is there', () => {
  const brokers = brokersOf([null, null, null])
  const existing = [
    [1, 2],
    [1, 2],
  ]
  const sets = placeReplicas({ brokers, existing, partitions: 4, replicas: 2, seed: 5 })
  const counts = countsOf(brokers, [...existing, ...sets])
  assert.deepEqual(counts, { replicas: [4, 4, 4], leaders: [2, 2, 2] })
})

test('placement: small topics go where others are not', () => {
  const loads = new Map([1, 2, 3, 4, 5].map((nodeId) => [nodeId, { replicas: 0, leaders: 0 }]))
  for (let seed = 0; seed < 50; seed++) {
    const brokers = [...loads].map(([nodeId, load]) => ({ nodeId, rack: null, ...load }))
    const [set] = placeReplicas({ brokers, existing: [], partitions: 1, replicas: 3, seed })
    for (const [index, nodeId] of set!.entries()) {
      const { replicas, leaders } = loads.get(nodeId)!
      loads.set(nodeId, { replicas: replicas + 1, leaders: leaders + Number(index === 0) })
    }
  }
  assert.ok(spreadOf([...loads.values()].map(({ replicas }) => replicas)) <= 1)
  assert.ok(spreadOf([...loads.values()].map(({ leaders }) => leaders)) <= 2)
})

test('placement: 10,000 partitions on 100 brokers in a moment', () => {
  const brokers = brokersOf(Array.from({ length: 100 }, (_, index) => `r${index % 3}`))
  const startMs = performance.now()
  const sets = placeReplicas({ brokers, existing: [], partitions: 10_000, replicas: 3, seed: 1 })
  assert.ok(performance.now() - startMs < 10_000)
  assert.equal(sets.length, 10_000)
})
