import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeFrame, encodeFrame, PROLOGUE_BYTES } from '../../../src/protocol/frame.ts'

const header = Uint8Array.of(0x91, 0x01)

test('the bytes of a frame are those of the table', () => {
  const frame = encodeFrame({ api: 0x0102, isReply: true, correlationId: 0xdeadbeef }, header, [
    Uint8Array.of(7),
    Uint8Array.of(8, 9),
  ])
  assert.deepEqual([...frame], [1, 1, 1, 2, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 2, 0x91, 1, 7, 8, 9])
  const decoded = decodeFrame(frame)
  assert.ok(decoded.kind === 'frame')
  assert.equal(decoded.frame.api, 0x0102)
  assert.equal(decoded.frame.isReply, true)
  assert.equal(decoded.frame.correlationId, 0xdeadbeef)
  assert.deepEqual([...decoded.frame.header], [0x91, 1])
  assert.deepEqual([...decoded.frame.body], [7, 8, 9])
})

test('a frame inside a larger buffer is read at its own place', () => {
  const frame = encodeFrame({ api: 3, isReply: false, correlationId: 1 }, header)
  const larger = new Uint8Array(frame.length + 20).fill(0xff)
  larger.set(frame, 7)
  const decoded = decodeFrame(larger.subarray(7, 7 + frame.length))
  assert.ok(decoded.kind === 'frame')
  assert.equal(decoded.frame.correlationId, 1)
  assert.equal(decoded.frame.body.length, 0)
})

test('what can be answered is a fault with its correlation id, what cannot is garbage', () => {
  const frame = () => encodeFrame({ api: 3, isReply: false, correlationId: 77 }, header)
  for (let length = 0; length < PROLOGUE_BYTES; length++)
    assert.equal(decodeFrame(frame().subarray(0, length)).kind, 'garbage')
  const damaged = (at: number, value: number) => {
    const bytes = frame()
    bytes[at] = value
    return decodeFrame(bytes)
  }
  const fault = { kind: 'fault', api: 3, correlationId: 77 }
  assert.deepEqual({ ...damaged(0, 2), text: '' }, { ...fault, code: 'UNSUPPORTED_VERSION', text: '' })
  assert.deepEqual({ ...damaged(1, 2), text: '' }, { ...fault, code: 'INVALID_REQUEST', text: '' })
  assert.deepEqual({ ...damaged(11, 3), text: '' }, { ...fault, code: 'INVALID_REQUEST', text: '' })
  assert.deepEqual({ ...damaged(8, 0xff), text: '' }, { ...fault, code: 'INVALID_REQUEST', text: '' })
})
