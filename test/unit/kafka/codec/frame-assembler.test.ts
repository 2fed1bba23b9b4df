import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { joinBytes } from '../../../../src/base/bytes.ts'
import { FrameAssembler } from '../../../../src/kafka/codec/frame-assembler.ts'
import { FRAME_BUFFER_BYTES_MIN, FrameBuffers } from '../../../../src/kafka/codec/frame-buffers.ts'
import { collectGarbage } from '../../../support/garbage.ts'

const MAX = 1_000

function frameOf(payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(4 + payload.length)
  new DataView(frame.buffer).setInt32(0, payload.length)
  frame.set(payload, 4)
  return frame
}

/** All frames that come of these chunks. */
function framesOf(assembler: FrameAssembler, chunks: readonly Uint8Array[]): Uint8Array[] {
  const frames: Uint8Array[] = []
  for (const chunk of chunks) {
    assembler.push(chunk)
    for (let next = assembler.next(); next.kind !== 'none'; next = assembler.next()) {
      assert.equal(next.kind, 'frame')
      frames.push(next.kind === 'frame' ? next.payload : assert.fail())
    }
  }
  return frames
}

test('frames split at every byte', () => {
  const payloads = [Uint8Array.of(1, 2, 3), new Uint8Array(0), Uint8Array.of(4, 5)]
  const stream = joinBytes(payloads.map(frameOf))
  for (let cut = 0; cut <= stream.length; cut++) {
    const assembler = new FrameAssembler(MAX)
    assert.deepEqual(framesOf(assembler, [stream.slice(0, cut), stream.slice(cut)]), payloads, `cut at ${cut}`)
    assert.equal(assembler.pendingBytes, 0)
    assert.equal(assembler.hasMore, false)
  }
  assert.deepEqual(
    framesOf(
      new FrameAssembler(MAX),
      [...stream].map((byte) => Uint8Array.of(byte)),
    ),
    payloads,
  )
})

test('any frames in any segments', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 30 }), { maxLength: 10 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }),
      (payloads, sizes) => {
        const stream = joinBytes(payloads.map(frameOf))
        const chunks: Uint8Array[] = []
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const end = at + sizes[turn % sizes.length]!
          chunks.push(stream.slice(at, end))
          at = end
        }
        assert.deepEqual(framesOf(new FrameAssembler(MAX), chunks), payloads)
      },
    ),
  )
})

test('a large frame of small and large segments is put together once, in order', () => {
  const payload = new Uint8Array(100_000).map((_, index) => index * 7)
  const stream = frameOf(payload)
  for (const sizes of [[1], [1_023, 1_024, 1_025], [5, 9_000, 700, 2_000], [8_191, 1, 1], [70_000]]) {
    const assembler = new FrameAssembler(200_000)
    const frames: Uint8Array[] = []
    for (let at = 0, turn = 0; at < stream.length; turn++) {
      const chunk = stream.slice(at, at + sizes[turn % sizes.length]!)
      at += chunk.length
      frames.push(...framesOf(assembler, [chunk]))
      if (at > 4 && at < stream.length) assert.equal(assembler.pendingBytes, at - 4)
    }
    assert.equal(frames.length, 1)
    assert.ok(Buffer.from(frames[0]!).equals(payload), `segments of ${sizes}`)
  }
})

test('a frame that came whole is a view; several of a chunk come one by one', () => {
  const chunk = joinBytes([frameOf(Uint8Array.of(1, 2)), frameOf(Uint8Array.of(3))])
  const assembler = new FrameAssembler(MAX)
  assembler.push(chunk)
  const first = assembler.next()
  assert.ok(first.kind === 'frame')
  assert.equal(first.payload.buffer, chunk.buffer)
  assert.equal(assembler.hasMore, true)
  assert.equal(assembler.pendingBytes, 5)
  // More comes while frames wait: nothing is lost, nothing overtakes.
  assembler.push(frameOf(Uint8Array.of(4)))
  assert.deepEqual(framesOf(assembler, []), [])
  const rest: number[][] = []
  for (let next = assembler.next(); next.kind === 'frame'; next = assembler.next()) rest.push([...next.payload])
  assert.deepEqual(rest, [[3], [4]])
})

test('a length above the limit, or below 0, is told before its bytes come; up to the limit it is a frame', () => {
  for (const [hex, bytes] of [
    ['000003e9', 1_001],
    ['7fffffff', 2 ** 31 - 1],
    ['ffffffff', 2 ** 32 - 1],
    ['80000000', 2 ** 31],
  ] as const) {
    const assembler = new FrameAssembler(MAX)
    assembler.push(new Uint8Array(Buffer.from(hex, 'hex')))
    assert.deepEqual(assembler.next(), { kind: 'too-large', bytes })
    // It stays so: the stream cannot be read on.
    assembler.push(Uint8Array.of(1, 2, 3))
    assert.deepEqual(assembler.next(), { kind: 'too-large', bytes })
  }
  const payload = new Uint8Array(MAX).fill(7)
  assert.deepEqual(framesOf(new FrameAssembler(MAX), [frameOf(payload)]), [payload])
})

test('a length that is claimed costs nothing', () => {
  const before = process.memoryUsage().arrayBuffers
  const assemblers = Array.from({ length: 1_000 }, () => {
    const assembler = new FrameAssembler(64 * 1024 * 1024)
    assembler.push(Uint8Array.of(3, 0, 0, 0))
    assert.equal(assembler.next().kind, 'none')
    assert.equal(assembler.pendingBytes, 0)
    return assembler
  })
  assert.ok(process.memoryUsage().arrayBuffers - before < 1024 * 1024)
  assert.equal(assemblers.length, 1_000)
})

test('the limit may grow while the connection lives', () => {
  const assembler = new FrameAssembler(10)
  assembler.push(frameOf(new Uint8Array(5)))
  assert.equal(assembler.next().kind, 'frame')
  assembler.frameBytesMax = 100
  assembler.push(frameOf(new Uint8Array(50)))
  assert.equal(assembler.next().kind, 'frame')
})

test('a chunk whose frames are all given away is not kept', async () => {
  const assemblers = Array.from({ length: 50 }, () => new FrameAssembler(2 ** 20))
  const before = process.memoryUsage().arrayBuffers
  for (const assembler of assemblers) {
    assembler.push(frameOf(new Uint8Array(2 ** 20)))
    assert.equal(assembler.next().kind, 'frame')
    assert.equal(assembler.next().kind, 'none')
  }
  // Backing stores go with a turn after the collection.
  await collectGarbage()
  await collectGarbage()
  assert.ok(process.memoryUsage().arrayBuffers - before < 5 * 2 ** 20)
  assert.equal(assemblers.length, 50)
})

test('a frame of several pieces lies in a buffer that serves again once it is given back, and only then', () => {
  const buffers = new FrameBuffers()
  const assembler = new FrameAssembler(2 ** 20, buffers)
  const next = (value: number) => {
    const frame = frameOf(new Uint8Array(50_000).fill(value))
    assembler.push(frame.slice(0, 30_000))
    assert.equal(assembler.next().kind, 'none')
    assembler.push(frame.slice(30_000))
    const got = assembler.next()
    assert.ok(got.kind === 'frame' && got.buffer !== undefined)
    assert.equal(got.payload.length, 50_000)
    assert.ok(got.payload.every((byte) => byte === value))
    return got
  }
  const first = next(1)
  const second = next(2)
  assert.notEqual(first.buffer, second.buffer)
  assert.ok(
    first.payload.every((byte) => byte === 1),
    'a frame that was not given back is left alone',
  )
  buffers.give(first.buffer!)
  const third = next(3)
  assert.equal(third.buffer, first.buffer)
  assert.ok(second.payload.every((byte) => byte === 2))
})

test('buffers: as large as what came asks for, not as what is claimed; kept up to a limit', () => {
  const buffers = new FrameBuffers()
  assert.equal(buffers.take(64 * 2 ** 20, 1).length, FRAME_BUFFER_BYTES_MIN)
  assert.equal(buffers.take(100, 1).length, 128)
  assert.equal(buffers.take(64 * 2 ** 20, 50_000).length, 65_536)
  const large = new Uint8Array(8 * 2 ** 20)
  for (let turn = 0; turn < 6; turn++) buffers.give(turn === 0 ? large : new Uint8Array(8 * 2 ** 20))
  assert.equal(buffers.freeBytes, 32 * 2 ** 20)
  buffers.give(new Uint8Array(8 * 2 ** 20 + 1))
  assert.equal(buffers.freeBytes, 32 * 2 ** 20)
  assert.equal(buffers.take(9, 9), large)
  assert.equal(buffers.freeBytes, 24 * 2 ** 20)
})

test('a stream that is over gives back what it holds, once', () => {
  const buffers = new FrameBuffers()
  const assembler = new FrameAssembler(2 ** 20, buffers)
  assembler.push(frameOf(new Uint8Array(50_000)).slice(0, 20_000))
  assert.equal(assembler.next().kind, 'none')
  assembler.end()
  const { freeBytes } = buffers
  assert.ok(freeBytes >= 20_000)
  assembler.end()
  assert.equal(buffers.freeBytes, freeBytes)
  assert.equal(assembler.pendingBytes, 0)
})
