/** How frames are given to uWebSockets.js: around the build that loses a payload when the kernel takes nothing of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UwsSocket } from '../../src/broker/listeners/uws-engine.ts'

const DIRECT = 16 * 1024
const SUCCESS = 1
const BACKPRESSURE = 0

/** What the engine does with a frame: cork it, write it directly, or buffer it. The kernel takes nothing from `fullFrom` bytes on. */
class EngineModel {
  readonly sent: { bytes: number; isDirect: boolean; isFirst: boolean; isLast: boolean }[] = []
  buffered = 0
  /** Payload bytes in the cork buffer, and frames: a frame without payload has its header there. */
  corked = 0
  corkedFrames = 0
  written = 0
  isCut = false
  fullFrom = Number.POSITIVE_INFINITY
  canCork = true

  getBufferedAmount = () => this.buffered
  send = (bytes: Uint8Array) => this.#frame(bytes, true, true)
  sendFirstFragment = (bytes: Uint8Array) => this.#frame(bytes, true, false)
  sendFragment = (bytes: Uint8Array) => this.#frame(bytes, false, false)
  sendLastFragment = (bytes: Uint8Array) => this.#frame(bytes, false, true)
  close = () => {
    this.isCut = true
  }
  end = this.close

  #frame({ length }: Uint8Array, isFirst: boolean, isLast: boolean): number {
    const isDirect = length >= DIRECT && this.buffered === 0 && this.corkedFrames === 0
    this.sent.push({ bytes: length, isDirect, isFirst, isLast })
    if (isDirect) {
      if (this.written < this.fullFrom) {
        this.written += length
        return SUCCESS
      }
      this.buffered = 4
      return BACKPRESSURE
    }
    if (this.canCork && this.buffered === 0 && this.corked + length < DIRECT) {
      this.corked += length
      this.corkedFrames++
      return SUCCESS
    }
    const all = this.corked + this.buffered + length
    this.corked = 0
    this.corkedFrames = 0
    this.buffered = this.written < this.fullFrom ? 0 : all
    if (this.buffered > 0) return BACKPRESSURE
    this.written += all
    return SUCCESS
  }
}

const socketOf = (model: EngineModel) => new UwsSocket(model as never, {}, '127.0.0.1')
const page = new Uint8Array(64 * 1024)

test('a corked socket never has a frame written the way that can lose it, whole message or fragments', () => {
  for (const fragments of [[new Uint8Array(100), page, page, page.subarray(0, 40_000)], [new Uint8Array(100_000)]]) {
    const model = new EngineModel()
    assert.equal(socketOf(model).send(fragments), 'copied')
    assert.ok(model.sent.some(({ bytes }) => bytes >= DIRECT))
    assert.deepEqual(
      model.sent.filter(({ isDirect }) => isDirect),
      [],
    )
    assert.deepEqual([model.sent[0]!.isFirst, model.sent.at(-1)!.isLast], [true, true])
    assert.equal(model.sent.filter(({ isFirst }) => isFirst).length, 1)
    assert.equal(model.sent.filter(({ isLast }) => isLast).length, 1)
    const given = fragments.reduce((sum, { length }) => sum + length, 0)
    assert.equal(model.written + model.corked, given)
  }
})

test('fragments behind a full kernel are buffered, none is lost', () => {
  const model = new EngineModel()
  model.fullFrom = 100_000
  assert.equal(socketOf(model).send([page, page, page, page]), 'copied')
  assert.equal(model.written + model.buffered, 4 * page.length)
  assert.equal(model.isCut, false)
})

test('where it cannot be corked and the payload is lost, the socket is cut', () => {
  const model = new EngineModel()
  model.canCork = false
  model.fullFrom = 100_000
  assert.equal(socketOf(model).send([page, page, page, page]), 'closed')
  assert.equal(model.isCut, true)
})
