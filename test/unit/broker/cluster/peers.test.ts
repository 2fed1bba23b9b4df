/** Connections among brokers: who is meant answers, what ends is made again and told, and what is found at an address. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type PeerAddress, Peers } from '../../../../src/broker/cluster/peers.ts'
import { isMillraceError } from '../../../../src/model/errors.ts'
import { decodeFrame, encodeFrame, hello, probeBroker } from '../../../../src/protocol/index.ts'
import type { Transport, TransportHandlers } from '../../../../src/transport/transport.ts'
import { ManualTimers } from '../../../support/manual-timers.ts'

const ADDRESS: PeerAddress = { nodeId: 2, incarnation: 3, url: 'ws://two' }

/** A broker played by hand: it says who it is, and answers every probe-broker. */
class Stage {
  readonly timers = new ManualTimers()
  readonly unreachable: PeerAddress[] = []
  readonly tokens: (string | undefined)[] = []
  readonly open: { handlers: TransportHandlers; isOver: boolean }[] = []
  identity = { clusterId: 'c', nodeId: 2, incarnation: 3 }
  how: 'answers' | 'refuses' | 'is silent' | 'throws' = 'answers'
  readonly peers: Peers

  constructor() {
    const transport: Transport = {
      connect: (_url, { token }, handlers) => {
        this.tokens.push(token)
        if (this.how === 'throws') throw new SyntaxError('Invalid URL: ws://two:99999')
        const end = { handlers, isOver: false }
        this.open.push(end)
        const close = (isRefused: boolean): void => {
          if (end.isOver) return
          end.isOver = true
          setImmediate(() => handlers.onClose({ code: 1006, text: 'over', ...(isRefused ? { isRefused } : {}) }))
        }
        if (this.how === 'answers') setImmediate(() => handlers.onOpen())
        if (this.how === 'refuses') close(true)
        return {
          bufferedBytes: 0,
          send: (parts, done) => {
            this.#answer(handlers, Buffer.concat(parts))
            done?.()
          },
          close: () => close(false),
          terminate: () => close(false),
        }
      },
    }
    this.peers = new Peers({
      ...{ clock: this.timers.clock, timers: this.timers, transport, nodeId: 1, clusterId: 'c', secret: 'secret' },
      ...{ version: '1', requestTimeoutMs: 1_000, onUnreachable: (address) => this.unreachable.push(address) },
    })
  }

  #answer(handlers: TransportHandlers, bytes: Uint8Array): void {
    const decoded = decodeFrame(bytes)
    assert.ok(decoded.kind === 'frame')
    const { api, correlationId } = decoded.frame
    const header =
      api === hello.api
        ? hello.encodeReply({
            ...this.identity,
            ...{ serverVersion: '1', creditBytes: 1e6, frameBytesMax: 1e6, batchBytesMax: 1e6, apis: [] },
          })
        : probeBroker.encodeReply({ finding: 'alive' })
    setImmediate(() => handlers.onMessage(encodeFrame({ api, isReply: true, correlationId }, header)))
  }

  /** The other end breaks all connections. */
  cut(): void {
    for (const end of this.open)
      if (!end.isOver) {
        end.isOver = true
        end.handlers.onClose({ code: 1006, text: 'cut' })
      }
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('one connection, with the secret, made as soon as the broker is known; one that ends is told of and made again', async () => {
  const stage = new Stage()
  stage.peers.learn(ADDRESS)
  await settle()
  assert.deepEqual([stage.tokens, stage.peers.openTo(2)?.isOpen], [['secret'], true])
  assert.deepEqual(await stage.peers.ask(2, probeBroker, { nodeId: 3 }), { finding: 'alive' })
  stage.peers.learn({ ...ADDRESS })
  assert.equal(stage.open.length, 1)
  stage.cut()
  await settle()
  assert.deepEqual([stage.unreachable, stage.peers.openTo(2)], [[ADDRESS], undefined])
  stage.timers.advance(200)
  await settle()
  assert.equal(stage.peers.openTo(2)?.isOpen, true)
  stage.peers.close()
})

test('somebody else at its address is no peer: another node, another start, another cluster', async () => {
  for (const other of [{ nodeId: 9 }, { incarnation: 4 }, { clusterId: 'd' }]) {
    const stage = new Stage()
    stage.identity = { ...stage.identity, ...other }
    stage.peers.learn(ADDRESS)
    await settle()
    assert.equal(stage.peers.openTo(2), undefined)
    await settle()
    assert.deepEqual(stage.unreachable, [ADDRESS])
    stage.peers.close()
  }
})

test('a later start of the broker: the old connection is closed, a new one made, and no alarm is raised', async () => {
  const stage = new Stage()
  stage.peers.learn(ADDRESS)
  await settle()
  stage.identity = { ...stage.identity, incarnation: 4 }
  stage.peers.learn({ ...ADDRESS, incarnation: 4 })
  await settle()
  assert.deepEqual([stage.open[0]!.isOver, stage.peers.openTo(2)?.isOpen, stage.unreachable], [true, true, []])
  stage.peers.forget(2)
  await assert.rejects(
    stage.peers.connection(2),
    (error) => isMillraceError(error) && error.code === 'CONNECTION_FAILED',
  )
  stage.peers.close()
})

test('who cannot be reached is told of again and again, and what is found at the address is what a fresh connection finds', async () => {
  const stage = new Stage()
  stage.how = 'refuses'
  stage.peers.learn(ADDRESS)
  await settle()
  assert.equal(stage.unreachable.length, 1)
  stage.timers.advance(700)
  await settle()
  stage.timers.advance(200)
  await settle()
  assert.ok(stage.unreachable.length >= 2)
  assert.equal(await stage.peers.probe(2), 'refused')
  stage.how = 'answers'
  assert.equal(await stage.peers.probe(2), 'alive')
  stage.how = 'is silent'
  const silent = stage.peers.probe(2)
  stage.timers.advance(3_000)
  assert.equal(await silent, 'unknown')
  assert.equal(await stage.peers.probe(7), 'unknown')
  stage.peers.close()
})

test('an address that is none is not connected to, and says nothing of whether its broker lives', async () => {
  const stage = new Stage()
  stage.how = 'throws'
  stage.peers.learn(ADDRESS)
  await settle()
  assert.deepEqual([stage.unreachable, stage.peers.openTo(2)], [[ADDRESS], undefined])
  assert.equal(await stage.peers.probe(2), 'unknown')
  stage.peers.close()
})
