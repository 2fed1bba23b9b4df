/** Rings in one thread: layout, limits, padding, the wrap of positions, full and room again. Against a queue as the model. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createRing, frameBytesOf, payloadBytesMaxOf, ringCapacityFor } from '../../../src/ring/ring-layout.ts'
import { RingReader } from '../../../src/ring/ring-reader.ts'
import { type FramePriority, RingWriter } from '../../../src/ring/ring-writer.ts'

const invariant = { name: 'InvariantError' }

function open(capacityBytes: number, initialPosition = 0) {
  const memory = createRing({ capacityBytes, initialPosition })
  return { writer: new RingWriter(memory), reader: new RingReader(memory) }
}

describe('a ring', () => {
  test('carries a frame: type, length, payload, aligned to 8', () => {
    const { writer, reader } = open(256)
    const at = writer.claim(7, 11, 'data')
    writer.bytes.set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], at)
    assert.equal(reader.next(), false, 'a claimed frame is not visible')
    writer.publish()
    assert.equal(reader.isEmpty(), false)
    assert.equal(reader.pendingBytes(), 24)
    assert.ok(reader.next())
    assert.deepEqual([reader.type, reader.length, reader.at % 8], [7, 11, 0])
    assert.deepEqual(
      [...reader.bytes.subarray(reader.at, reader.at + reader.length)],
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    )
    assert.equal(writer.usedBytes(), 24, 'space comes back by release(), not by next()')
    assert.equal(reader.heldBytes(), 24)
    reader.release()
    assert.equal(writer.usedBytes(), 0)
    assert.equal(reader.next(), false)
  })

  test('copies any length from any alignment, and not a byte more', () => {
    const writer = new RingWriter(createRing({ capacityBytes: 16_384 }))
    const source = Uint8Array.from({ length: 3_000 }, (_, index) => (index % 251) + 1)
    for (const length of [0, 1, 7, 511, 512, 513, 2_048]) {
      for (const from of [0, 3]) {
        writer.bytes.fill(0)
        const part = source.subarray(from, from + length)
        writer.write(8, part)
        assert.deepEqual(writer.bytes.slice(8, 8 + length), part.slice(), `${length} bytes from ${from}`)
        assert.deepEqual([writer.bytes[7], writer.bytes[8 + length]], [0, 0], `around ${length} bytes from ${from}`)
      }
    }
  })

  test('leaves its last quarter to control frames', () => {
    const { writer } = open(64)
    assert.ok(writer.claim(1, 16, 'data') >= 0)
    assert.ok(writer.claim(1, 16, 'data') >= 0)
    assert.equal(writer.hasRoom(0, 'data'), false)
    assert.equal(writer.claim(1, 0, 'data'), -1)
    assert.ok(writer.hasRoom(8, 'control'))
    assert.ok(writer.claim(1, 8, 'control') >= 0)
    assert.equal(writer.claim(1, 0, 'control'), -1)
    assert.equal(writer.usedBytes(), 64)
    assert.ok(writer.stalls >= 2)
  })

  test('tells the reader that somebody waits for room, once', () => {
    const { writer, reader } = open(64)
    writer.claim(1, 16, 'data')
    writer.claim(1, 16, 'data')
    writer.publish()
    assert.ok(reader.next())
    assert.equal(reader.release(), false)
    writer.claim(1, 16, 'control')
    assert.equal(writer.claim(1, 8, 'data'), -1)
    assert.ok(reader.next())
    assert.equal(reader.release(), true)
    assert.equal(reader.release(), false, 'nothing new to release')
  })

  test('takes the largest payload at every tail when it is empty, as data', () => {
    for (const capacityBytes of [64, 128, 1024])
      for (let position = 0; position < capacityBytes; position += 8) {
        const { writer, reader } = open(capacityBytes, position)
        assert.ok(writer.claim(1, writer.frameBytesMax, 'data') >= 0, `at ${position} of ${capacityBytes}`)
        writer.publish()
        assert.ok(reader.next())
        assert.equal(reader.length, writer.frameBytesMax)
      }
  })

  test('would not take a frame of 8 bytes more at some tail: the limit is tight', () => {
    const capacityBytes = 1024
    const frameBytes = frameBytesOf(payloadBytesMaxOf(capacityBytes)) + 8
    const paddingBytes = frameBytes - 8
    assert.ok(paddingBytes + frameBytes > (capacityBytes / 4) * 3)
  })

  test('refuses what is not a frame', () => {
    const { writer } = open(64)
    assert.throws(() => writer.claim(1, writer.frameBytesMax + 1, 'control'), { ...invariant, message: /17 bytes.*16/ })
    assert.throws(() => writer.claim(1, -1, 'control'), invariant)
    assert.throws(() => writer.claim(0, 4, 'control'), { ...invariant, message: /type 0/ })
  })

  test('refuses memory that is not a ring', () => {
    for (const capacityBytes of [0, 32, 65, 96, 2 ** 31])
      assert.throws(() => createRing({ capacityBytes }), { ...invariant, message: /power of two/ })
    assert.throws(() => createRing({ capacityBytes: 64, initialPosition: 4 }), {
      ...invariant,
      message: /multiple of 8/,
    })
    assert.throws(() => new RingReader(new SharedArrayBuffer(100)), invariant)
  })

  test('a frame that runs past the tail is a broken invariant, not a wild read', () => {
    const memory = createRing({ capacityBytes: 64 })
    const writer = new RingWriter(memory)
    const reader = new RingReader(memory)
    writer.claim(1, 8, 'data')
    writer.publish()
    for (const length of [9_000, -1, 2 ** 31 - 1]) {
      writer.view.setInt32(0, length, true)
      assert.throws(() => reader.next(), { ...invariant, message: /tail/ })
    }
  })

  test('ringCapacityFor: the smallest capacity that carries a payload', () => {
    assert.equal(ringCapacityFor(16), 64)
    assert.equal(ringCapacityFor(17), 128)
    assert.equal(ringCapacityFor(1024 * 1024), 4 * 1024 * 1024)
    assert.throws(() => ringCapacityFor(2 ** 30), invariant)
  })

  test('reads and writes as a queue does, across the wraps of int32', () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('claim' as const),
        payloadBytes: fc.integer({ min: 0, max: 88 }),
        priority: fc.constantFrom<FramePriority>('data', 'control'),
      }),
      fc.record({ kind: fc.constantFrom('publish' as const, 'next' as const, 'release' as const) }),
    )
    const start = fc.constantFrom(0, 2 ** 31 - 512, 2 ** 32 - 512, -8, 2 ** 31 - 8)
    fc.assert(
      fc.property(start, fc.array(step, { maxLength: 300 }), (initialPosition, steps) => {
        const { writer, reader } = open(256, initialPosition)
        const queue: number[] = []
        let [claimed, published, taken] = [0, 0, 0]
        for (const action of steps) {
          if (action.kind === 'claim') {
            const at = writer.claim(claimed + 1, action.payloadBytes, action.priority)
            if (at < 0) {
              assert.ok(writer.usedBytes() > 0, 'an empty ring is never full')
              continue
            }
            writer.bytes.fill((claimed + 1) & 255, at, at + action.payloadBytes)
            queue.push(action.payloadBytes)
            claimed++
            assert.ok(writer.usedBytes() <= (action.priority === 'data' ? 192 : 256))
          } else if (action.kind === 'publish') {
            writer.publish()
            published = claimed
          } else if (action.kind === 'next') {
            assert.equal(reader.next(), taken < published)
            if (taken === published) continue
            taken++
            assert.deepEqual([reader.type, reader.length], [taken, queue[taken - 1]])
            const payload = reader.bytes.subarray(reader.at, reader.at + reader.length)
            assert.ok(payload.every((byte) => byte === (taken & 255)))
          } else reader.release()
        }
      }),
      { numRuns: 500 },
    )
  })
})
