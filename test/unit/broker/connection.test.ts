/** One connection over a socket that is played by hand: who frees a message's memory and when, and what is lent. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Connection, type ConnectionPool, creditWindowOf, type Outgoing } from '../../../src/broker/connection.ts'
import type { EngineSocket, SendAnswer } from '../../../src/broker/listeners/web-socket-engine.ts'
import { credit, decodeFrame } from '../../../src/protocol/index.ts'

const WINDOW_BYTES = 1_000

class PlayedSocket implements EngineSocket<Connection> {
  readonly remoteAddress = '127.0.0.1'
  readonly keepsFragments = true
  isOpen = true
  bufferedBytes = 0
  answer: SendAnswer = 'kept'
  readonly sent: Uint8Array[] = []
  readonly written: (() => void)[] = []
  readonly context: Connection

  constructor(context: Connection) {
    this.context = context
  }

  send(fragments: readonly Uint8Array[], onWritten: () => void): SendAnswer {
    this.sent.push(new Uint8Array(Buffer.concat(fragments)))
    if (this.answer === 'kept') this.written.push(onWritten)
    return this.answer
  }

  cork(work: () => void): void {
    work()
  }

  close(): void {
    this.isOpen = false
  }
}

function open(isSendPressed = false, windowBytes = WINDOW_BYTES) {
  const pool: ConnectionPool = {
    ...{ pendingReceiveBytes: 0, pendingSendBytes: 0, isSendPressed, receiveBytesMax: 10 * WINDOW_BYTES },
    ...{ connectionSendBytesMax: 100, windowBytes, markDirty: () => {}, markStarved: () => {}, markWaiting: () => {} },
  }
  const connection = new Connection(pool, undefined)
  const socket = new PlayedSocket(connection)
  connection.socket = socket
  connection.isReady = true
  connection.beginCredit()
  return { pool, connection, socket }
}

/** A message that counts how it ended. */
function message(): Outgoing & { ends: string[] } {
  const ends: string[] = []
  return { fragments: [new Uint8Array(8)], onDone: () => ends.push('done'), onNoRoom: () => ends.push('no room'), ends }
}

describe('what becomes of a message', () => {
  test('an outbox is large by what waits in it, not by what has left', () => {
    const { connection } = open()
    connection.sendOutgoing({ fragments: [new Uint8Array(40_000), new Uint8Array(40_000)] })
    assert.equal(connection.hasMuchToSend, true)
    connection.flush()
    assert.equal(connection.hasMuchToSend, false)
    connection.sendOutgoing({ fragments: [new Uint8Array(1_000)] })
    assert.equal(connection.hasMuchToSend, false)
  })

  test('memory that the engine keeps is freed by its word alone, once', () => {
    const { connection, socket } = open()
    const one = message()
    connection.sendOutgoing(one)
    connection.flush()
    assert.deepEqual(one.ends, [], 'the socket has not written it yet')
    socket.written[0]!()
    assert.deepEqual(one.ends, ['done'])
    connection.onClosed()
    assert.deepEqual(one.ends, ['done'])
  })

  test('memory that the engine copied, or that a closed socket never takes, is freed at once, once', () => {
    const answers: readonly SendAnswer[] = ['copied', 'closed']
    for (const answer of answers) {
      const { connection, socket } = open()
      socket.answer = answer
      const one = message()
      connection.sendOutgoing(one)
      connection.flush()
      assert.deepEqual(one.ends, ['done'], answer)
    }
  })

  test('what waits when the connection ends, and what comes after, is freed', () => {
    const { connection } = open()
    const waiting = message()
    const late = message()
    connection.sendOutgoing(waiting)
    connection.onClosed()
    connection.sendOutgoing(late)
    assert.deepEqual([waiting.ends, late.ends], [['done'], ['done']])
  })

  test('a reader that stalls: what can be read again is dropped, the rest leaves in order', () => {
    const { connection, socket } = open()
    const dropped = message()
    socket.bufferedBytes = 101
    connection.sendOutgoing(dropped)
    connection.send(new Uint8Array([9]))
    connection.flush()
    assert.deepEqual(dropped.ends, ['no room'])
    assert.deepEqual(socket.sent, [new Uint8Array([9])])
  })
})

describe('while all clients together leave much unread', () => {
  test('a reply leaves as a copy, whose pages are free at once whatever the engine keeps', () => {
    const { connection, socket } = open(true)
    const one = message()
    one.fragments[0]!.fill(5)
    connection.sendOutgoing(one)
    connection.flush()
    one.fragments[0]!.fill(6)
    assert.deepEqual([one.ends, socket.sent, socket.written.length], [['done'], [new Uint8Array(8).fill(5)], 1])
    socket.written[0]!()
    assert.deepEqual(one.ends, ['done'])
  })

  test('who has read everything is sent more, who has not waits until it has', () => {
    const { connection, socket } = open(true)
    const [sent, dropped] = [message(), message()]
    let starts = 0
    assert.equal(connection.hasRoom, true)
    connection.sendOutgoing(sent)
    connection.flush()
    assert.equal(socket.sent.length, 1)
    socket.bufferedBytes = 1
    assert.equal(connection.hasRoom, false)
    connection.sendOutgoing(dropped)
    connection.flush()
    assert.deepEqual(dropped.ends, ['no room'])
    connection.hold({ start: () => starts++ })
    connection.onDrain()
    assert.equal(starts, 0)
    socket.bufferedBytes = 0
    connection.onDrain()
    assert.equal(starts, 1)
  })
})

describe('credit', () => {
  test('follows what is completed, in steps; what is not lent may not be sent', () => {
    const { pool, connection, socket } = open()
    assert.equal(connection.receive(WINDOW_BYTES), true)
    assert.equal(connection.receive(1), false, 'nothing is completed yet')
    connection.complete(WINDOW_BYTES / 4 - 1)
    connection.flush()
    assert.equal(socket.sent.length, 0, 'no message for a few bytes')
    connection.complete(1)
    connection.flush()
    const decoded = decodeFrame(socket.sent[0]!)
    assert.ok(decoded.kind === 'frame')
    assert.equal(decoded.frame.api, credit.api)
    assert.deepEqual(credit.decode(decoded.frame.header), { grantedBytes: WINDOW_BYTES + WINDOW_BYTES / 4 })
    connection.onClosed()
    assert.equal(pool.pendingReceiveBytes, 0, 'what a dead connection had under way is given back')
  })

  test('a frame of the largest size fits whenever everything before it is done with', () => {
    const frameBytesMax = 1_000
    for (let before = 0; before <= 2 * frameBytesMax; before += 7) {
      const { connection } = open(false, creditWindowOf(frameBytesMax))
      for (let rest = before; rest > 0; rest -= frameBytesMax) {
        const bytes = Math.min(rest, frameBytesMax)
        assert.equal(connection.receive(bytes), true)
        connection.complete(bytes)
      }
      assert.equal(connection.receive(frameBytesMax), true, `after ${before} bytes`)
    }
  })
})
