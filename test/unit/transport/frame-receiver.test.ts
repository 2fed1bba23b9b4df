/** FrameReceiver: whatever the pieces, the same messages; what is not sound ends it; nothing is allocated for what is only said. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FrameReceiver } from '../../../src/transport/frame-receiver.ts'

const BINARY = 2
const CONTINUATION = 0
const TEXT = 1
const PING = 9

function frame(opcode: number, payload: Uint8Array, options: { final?: boolean; bits?: number } = {}): Uint8Array {
  const { final = true, bits = 0 } = options
  const { length } = payload
  const head = [opcode | (final ? 0x80 : 0) | bits]
  if (length > 0xffff)
    head.push(127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255)
  else if (length > 125) head.push(126, length >> 8, length & 255)
  else head.push(length)
  return Uint8Array.from([...head, ...payload])
}

function receive(chunks: readonly Uint8Array[], messageBytesMax = 1 << 20) {
  const messages: Uint8Array[] = []
  const others: number[] = []
  const faults: string[] = []
  let allocatedBytes = 0
  const receiver = new FrameReceiver({
    messageBytesMax,
    allocate: (bytes) => {
      allocatedBytes += bytes
      return new Uint8Array(bytes).fill(0xee)
    },
    onMessage: (bytes) => void messages.push(bytes),
    onOther: (bytes) => void others.push(...bytes),
    onFault: (text) => void faults.push(text),
  })
  for (const chunk of chunks) receiver.push(chunk)
  return { messages, others, faults, allocatedBytes }
}

test('messages of every size and fragmentation, control frames between them, in pieces of every size', () => {
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .tuple(fc.integer({ min: 65_530, max: 200_000 }), fc.nat(255))
      .map(([length, fill]) => new Uint8Array(length).fill(fill)),
  )
  const message = fc.array(payload, { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 1, maxLength: 4 }),
      fc.uint8Array({ maxLength: 100 }),
      fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 6 }),
      (wanted, ping, pieces) => {
        const stream: Uint8Array[] = []
        for (const fragments of wanted)
          fragments.forEach((part, index) => {
            const final = index === fragments.length - 1
            stream.push(frame(index === 0 ? BINARY : CONTINUATION, part, { final }), frame(PING, ping))
          })
        const bytes = Buffer.concat(stream)
        const chunks: Uint8Array[] = []
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const size = pieces[turn % pieces.length]!
          // A copy each: handed out views must not depend on what follows.
          chunks.push(Uint8Array.from(bytes.subarray(at, at + size)))
          at += size
        }
        const { messages, others, faults } = receive(chunks)
        assert.deepEqual(faults, [])
        assert.equal(messages.length, wanted.length)
        for (const [index, fragments] of wanted.entries())
          assert.ok(Buffer.concat(fragments).equals(messages[index]!), `message ${index}`)
        const pings = wanted.flat().length
        assert.deepEqual(others, Array.from({ length: pings }, () => [...frame(PING, ping)]).flat())
      },
    ),
    { numRuns: 200 },
  )
})

test('a message that lies in one piece is not copied', () => {
  const chunk = Buffer.concat([frame(BINARY, Uint8Array.of(1, 2, 3)), frame(BINARY, Uint8Array.of(4))])
  const { messages, allocatedBytes } = receive([new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length)])
  assert.deepEqual(
    messages.map((bytes) => [...bytes]),
    [[1, 2, 3], [4]],
  )
  assert.equal(messages[0]!.buffer, chunk.buffer)
  assert.equal(allocatedBytes, 0)
})

test('a message that has begun is known until its last byte', () => {
  const receiver = new FrameReceiver({
    messageBytesMax: 1000,
    allocate: (bytes) => new Uint8Array(bytes),
    onMessage: () => {},
    onOther: () => {},
    onFault: (text) => assert.fail(text),
  })
  const fragments = [frame(BINARY, new Uint8Array(200), { final: false }), frame(CONTINUATION, new Uint8Array(3))]
  const stream = Buffer.concat(fragments)
  assert.equal(receiver.isWithinMessage, false)
  for (let at = 0; at < stream.length; at++) {
    receiver.push(stream.subarray(at, at + 1))
    assert.equal(receiver.isWithinMessage, at < stream.length - 1, `after byte ${at}`)
  }
})

test('text goes where control frames go', () => {
  const text = frame(TEXT, Buffer.from('hello'))
  assert.deepEqual(receive([text.subarray(0, 3), text.subarray(3)]).others, [...text])
})

test('what is not sound ends it, with the reason', () => {
  const one = Uint8Array.of(1)
  const faultOf = (...chunks: Uint8Array[]) => receive([...chunks, frame(BINARY, one)]).faults
  assert.deepEqual(faultOf(frame(BINARY, one, { bits: 0x40 })), ['a frame has reserved bits set'])
  assert.deepEqual(faultOf(Uint8Array.of(0x82, 0x81, 0, 0, 0, 0, 1)), ['a frame of the server is masked'])
  assert.deepEqual(faultOf(frame(CONTINUATION, one)), ['a fragment without a beginning'])
  assert.deepEqual(faultOf(frame(BINARY, one, { final: false })), ['a message begins within another'])
})

test('a size that is only said allocates nothing', () => {
  const huge = Uint8Array.of(0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)
  const { faults, allocatedBytes, messages } = receive([huge], 1000)
  assert.deepEqual([faults, allocatedBytes, messages.length], [['a message is larger than 1000 bytes'], 0, 0])
  const many = Array.from({ length: 20 }, (_, index) =>
    frame(index === 0 ? BINARY : CONTINUATION, new Uint8Array(100), { final: false }),
  )
  const fragments = receive(many, 1000)
  assert.deepEqual(fragments.faults, ['a message is larger than 1000 bytes'])
  assert.ok(fragments.allocatedBytes <= 1000)
})
