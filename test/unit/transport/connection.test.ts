/** Requests without a reply in time: who is given up alone, when the connection ends, and what becomes of a reply that comes late. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  Api,
  credit,
  decodeFrame,
  encodeFrame,
  type Frame,
  hello,
  metadata,
  probeBroker,
} from '../../../src/protocol/index.ts'
import { type CallOptions, Connection, correlationIdAfter } from '../../../src/transport/connection.ts'
import type { Transport, TransportHandlers } from '../../../src/transport/transport.ts'
import { hasCode } from '../../support/expect.ts'
import { ManualTimers } from '../../support/manual-timers.ts'

const TIMEOUT_MS = 10_000
const SILENCE_MS = 5_000

interface StageOptions {
  readonly creditBytes?: number
  /** As the browser's: it cannot tell whether anything is on its way. */
  readonly isBlind?: boolean
}

/** A broker played by hand in virtual time: it answers metadata at once while it lives, and probe-broker when a test says so. */
class Stage {
  readonly timers = new ManualTimers()
  readonly held: Frame[] = []
  /** Numbers of all requests that came. */
  readonly seen: number[] = []
  isSilent = false
  readonly #options: StageOptions
  #handlers: TransportHandlers | undefined

  constructor(options: StageOptions = {}) {
    this.#options = options
  }

  async open(): Promise<Connection> {
    const transport: Transport = {
      connect: (_url, _options, handlers) => {
        this.#handlers = handlers
        this.timers.after(1, () => handlers.onOpen())
        return {
          bufferedBytes: 0,
          ...(this.#options.isBlind === true ? {} : { messageStalledMs: 0 }),
          send: (parts, done) => {
            this.#take(Buffer.concat(parts))
            done?.()
          },
          close: () => {},
          terminate: () => {},
        }
      },
    }
    const runtime = {
      ...{ clock: this.timers.clock, transport },
      startTimer: (delayMs: number, task: () => void) => ({ cancel: this.timers.after(delayMs, task) }),
    }
    const opening = Connection.open(runtime, 'ws://two', {
      ...{ clientName: 't', clientVersion: '0', connectTimeoutMs: 2_000 },
      ...{ requestTimeoutMs: TIMEOUT_MS, silenceMsMax: SILENCE_MS },
    })
    for (let turn = 0; turn < 4; turn++) {
      await settle()
      this.timers.advance(1)
    }
    return opening
  }

  /** The connection hears `bytes` of credit granted in all. */
  grant(grantedBytes: number): void {
    this.#handlers!.onMessage(
      encodeFrame({ api: Api.CREDIT, isReply: false, correlationId: 0 }, credit.encode({ grantedBytes })),
    )
  }

  answer({ correlationId }: Frame): void {
    this.#reply(Api.PROBE_BROKER, correlationId, probeBroker.encodeReply({ finding: 'alive' }))
  }

  #take(bytes: Uint8Array): void {
    const decoded = decodeFrame(bytes)
    assert.ok(decoded.kind === 'frame')
    const { frame } = decoded
    const { api, correlationId } = frame
    this.seen.push(correlationId)
    if (this.isSilent) return
    const creditBytes = this.#options.creditBytes ?? 1e6
    const names = { clusterId: 'c', nodeId: 2, incarnation: 3, serverVersion: '1' }
    const header =
      api === Api.HELLO
        ? hello.encodeReply({ ...names, creditBytes, frameBytesMax: 1e6, batchBytesMax: 1e6, apis: [] })
        : metadata.encodeReply({ clusterId: 'c', controllerId: -1, brokers: [], topics: [] })
    if (api === Api.PROBE_BROKER) this.held.push(frame)
    else this.timers.after(1, () => this.#reply(api, correlationId, header))
  }

  #reply(api: number, correlationId: number, header: Uint8Array): void {
    this.#handlers!.onMessage(encodeFrame({ api, isReply: true, correlationId }, header))
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Calls, and keeps what becomes of it. */
function ask(connection: Connection, options: CallOptions = {}) {
  const asked = { outcome: 'waits' as unknown, done: Promise.resolve() }
  asked.done = connection.call(probeBroker, { nodeId: 3 }, options).then(
    ({ value }) => void (asked.outcome = value.finding),
    (error: unknown) => void (asked.outcome = error),
  )
  return asked
}

test('a request without a reply in time is given up alone: the others, and the connection, go on', async () => {
  const stage = new Stage()
  const connection = await stage.open()
  const late = ask(connection)
  stage.timers.advance(TIMEOUT_MS / 2)
  const other = ask(connection)
  stage.timers.advance(TIMEOUT_MS / 2 + 200)
  await late.done
  assert.ok(hasCode('REQUEST_TIMED_OUT', /no reply to probe-broker in time/)(late.outcome))
  assert.deepEqual([connection.isOpen, other.outcome], [true, 'waits'])
  stage.answer(stage.held[1]!)
  await other.done
  assert.equal(other.outcome, 'alive')
})

test('a reply that comes after its request was given up is dropped, and nobody takes it for his own', async () => {
  const stage = new Stage()
  const connection = await stage.open()
  const late = ask(connection)
  stage.timers.advance(TIMEOUT_MS + 200)
  await late.done
  const next = ask(connection)
  stage.answer(stage.held[0]!)
  await settle()
  assert.deepEqual([connection.isOpen, next.outcome], [true, 'waits'])
  stage.answer(stage.held[1]!)
  await next.done
  assert.equal(next.outcome, 'alive')
})

test('a number is not given out while its reply may come', () => {
  assert.equal(correlationIdAfter(0xffff_ffff, new Map([[1, 'pending']]), new Set([2, 4])), 3)
  assert.equal(correlationIdAfter(3, new Map(), new Set([4])), 5)
})

test('what was given up before it could leave does not leave later, nor hold up what fits', async () => {
  const stage = new Stage({ creditBytes: 4_000 })
  const connection = await stage.open()
  const large = ask(connection, { body: [new Uint8Array(8_000)], timeoutMs: 1_000 })
  const small = ask(connection)
  assert.equal(connection.queuedBytes > 8_000, true)
  stage.timers.advance(1_200)
  await large.done
  assert.ok(hasCode('CONNECTION_FAILED', /no reply to probe-broker in time/)(large.outcome), 'it never left')
  assert.deepEqual([connection.isOpen, connection.queuedBytes, stage.held.length], [true, 0, 1])
  stage.grant(100_000)
  stage.answer(stage.held[0]!)
  await small.done
  assert.deepEqual([small.outcome, stage.held.length], ['alive', 1])
})

test('a peer that is silent ends the connection, though nobody waits for its answers any more', async () => {
  const stage = new Stage()
  const connection = await stage.open()
  stage.isSilent = true
  const late = ask(connection, { timeoutMs: 1_000 })
  stage.timers.advance(1_200)
  await late.done
  assert.ok(hasCode('REQUEST_TIMED_OUT')(late.outcome))
  assert.equal(connection.isOpen, true)
  stage.timers.advance(SILENCE_MS)
  assert.match(connection.failure!.message, /owes answers and has said nothing/)
})

test('a peer that lives and never answers is not taken for gone', async () => {
  const stage = new Stage()
  const connection = await stage.open()
  const late = ask(connection)
  stage.timers.advance(TIMEOUT_MS + 200)
  await late.done
  stage.timers.advance(600_000)
  assert.equal(connection.isOpen, true)
})

test('where silence cannot be told from a slow line, nothing heard since the request ends the connection', async () => {
  for (const isHeard of [false, true]) {
    const stage = new Stage({ isBlind: true })
    const connection = await stage.open()
    const late = ask(connection)
    stage.timers.advance(TIMEOUT_MS / 2)
    if (isHeard) stage.grant(2_000_000)
    stage.timers.advance(TIMEOUT_MS / 2 + 200)
    await late.done
    assert.ok(hasCode(isHeard ? 'REQUEST_TIMED_OUT' : 'NETWORK_EXCEPTION')(late.outcome))
    assert.equal(connection.isOpen, isHeard)
  }
})

test('a request whose order matters ends the connection', async () => {
  const stage = new Stage()
  const connection = await stage.open()
  const behind = ask(connection, { timeoutMs: 60_000 })
  const late = ask(connection, { onLate: 'end-connection' })
  stage.timers.advance(TIMEOUT_MS + 200)
  await Promise.all([late.done, behind.done])
  assert.ok(hasCode('NETWORK_EXCEPTION')(late.outcome))
  assert.ok(hasCode('NETWORK_EXCEPTION')(behind.outcome))
  assert.equal(connection.isOpen, false)
})

test('a peer that answers nothing but signs of life is left after so many requests', async () => {
  const stage = new Stage()
  const connection = await stage.open()
  for (let count = 0; count < 64; count++) {
    const late = ask(connection, { timeoutMs: 1_000 })
    stage.timers.advance(1_200)
    await late.done
    assert.ok(hasCode('REQUEST_TIMED_OUT')(late.outcome))
  }
  assert.equal(connection.isOpen, true)
  const last = ask(connection, { timeoutMs: 1_000 })
  stage.timers.advance(1_200)
  await last.done
  assert.ok(hasCode('NETWORK_EXCEPTION')(last.outcome))
  assert.equal(connection.isOpen, false)
})
