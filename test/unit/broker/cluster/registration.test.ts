/** A broker's registration: its lease, what it says of itself, and when it must not act on it. The store is played by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Registration } from '../../../../src/broker/cluster/registration.ts'
import { brokerKey, encodeState, type NodeState, nodeKey } from '../../../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../../../src/coordination/memory-metadata-store.ts'
import type { StoreLease } from '../../../../src/coordination/metadata-store.ts'
import { SILENT } from '../../../../src/in-process/silent-logger.ts'
import { MillraceError } from '../../../../src/model/errors.ts'
import type { Incarnation } from '../../../../src/model/ids.ts'
import { ManualTimers } from '../../../support/manual-timers.ts'

const STATE = {
  ...{ incarnation: 4 as Incarnation, url: 'ws://a', rack: null, version: '1', directoryId: 'd', isClean: true },
  ...{ damaged: [], isStopping: false },
}

class Stage {
  readonly timers = new ManualTimers()
  readonly store = new MemoryMetadataStore(this.timers.clock)
  readonly states: string[] = []
  readonly over: string[] = []
  readonly leases: StoreLease[] = []
  deadlineMs = 5_000
  isStoreGone = false
  /** The image is behind: what waits for it goes on when this is called. */
  caughtUp: (() => void) | undefined
  isBehind = false
  readonly registration: Registration

  constructor() {
    const { store } = this
    this.registration = new Registration({
      ...{ nodeId: 1, leaseTtlMs: 5_000, clock: this.timers.clock, timers: this.timers, logger: SILENT },
      store: new Proxy(store, {
        get: (target, name) => {
          if (this.isStoreGone) return () => Promise.reject(new MillraceError('BROKER_NOT_AVAILABLE', 'no etcd'))
          if (name === 'lease') return () => this.#lease()
          const value: unknown = Reflect.get(target, name)
          return typeof value === 'function' ? value.bind(target) : value
        },
      }),
      waitFor: () => (this.isBehind ? new Promise((resolve) => (this.caughtUp = resolve)) : Promise.resolve()),
      onState: (state) => this.states.push(state),
      onRegistered: (lease) => this.leases.push(lease),
      onOver: (reason) => this.over.push(reason),
    })
  }

  async #lease(): Promise<StoreLease> {
    const lease = await this.store.lease(5_000)
    return {
      ...lease,
      leaseId: lease.leaseId,
      revoke: () => lease.revoke(),
      onLost: (listener) => lease.onLost(listener),
      deadlineMs: () => this.deadlineMs,
    }
  }

  async start(incarnation = 4): Promise<void> {
    const node: NodeState = { incarnation: incarnation as Incarnation }
    await this.store.transact([], [{ kind: 'put', key: nodeKey(1), value: encodeState(node) }])
    await this.registration.start(STATE)
  }

  async stored(): Promise<Record<string, unknown> | undefined> {
    const value = await this.store.get(brokerKey(1))
    return value && (JSON.parse(new TextDecoder().decode(value.value)) as Record<string, unknown>)
  }

  async settle(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
}

test('registered under its lease; what it says later replaces it', async () => {
  const stage = new Stage()
  await stage.start()
  assert.deepEqual([stage.states, stage.registration.isRegistered], [['registered'], true])
  assert.equal((await stage.stored())!.url, 'ws://a')
  stage.registration.update({ isStopping: true })
  await stage.settle()
  assert.equal((await stage.stored())!.isStopping, true)
  await stage.registration.close()
  assert.equal(await stage.stored(), undefined, 'it takes its key along')
})

test('from the deadline of its lease on it is suspended, until the store has heard of it again', async () => {
  const stage = new Stage()
  await stage.start()
  stage.timers.advance(4_900)
  assert.equal(stage.registration.isRegistered, true)
  stage.timers.advance(200)
  assert.deepEqual([stage.states, stage.registration.isRegistered], [['registered', 'suspended'], false])
  stage.deadlineMs = 9_000
  stage.timers.advance(200)
  assert.deepEqual(stage.states, ['registered', 'suspended', 'registered'])
})

test('a lost lease: suspended at once, registered again under another', async () => {
  const stage = new Stage()
  await stage.start()
  await stage.store.revokeLease(stage.leases[0]!.leaseId)
  assert.deepEqual(stage.states, ['registered', 'suspended'])
  await stage.settle()
  assert.deepEqual(stage.states, ['registered', 'suspended', 'registered'])
  assert.notEqual(stage.leases[1]!.leaseId, stage.leases[0]!.leaseId)
  assert.equal((await stage.stored())!.leaseId, stage.leases[1]!.leaseId)
})

test('registered again while the image is behind: suspended until it has caught up', async () => {
  const stage = new Stage()
  await stage.start()
  stage.isBehind = true
  await stage.store.revokeLease(stage.leases[0]!.leaseId)
  await stage.settle()
  assert.notEqual(await stage.stored(), undefined, 'the others see it')
  assert.deepEqual([stage.states, stage.registration.isRegistered], [['registered', 'suspended'], false])
  stage.caughtUp!()
  await stage.settle()
  assert.deepEqual(stage.states, ['registered', 'suspended', 'registered'])
  stage.registration.update({ isStopping: true })
  await stage.settle()
  assert.equal((await stage.stored())!.isStopping, true, 'a change of what is registered waits for nothing')
})

test('a store that is gone is asked again and again; what was to be said meanwhile is said then', async () => {
  const stage = new Stage()
  await stage.start()
  stage.isStoreGone = true
  stage.registration.update({ isStopping: true })
  await stage.settle()
  stage.isStoreGone = false
  stage.timers.advance(600)
  await stage.settle()
  assert.equal((await stage.stored())!.isStopping, true)
})

test('a later start of the node ends this one: at the start by a rejection, later by word', async () => {
  const late = new Stage()
  await assert.rejects(late.start(5), { code: 'STALE_BROKER_EPOCH' })
  const stage = new Stage()
  await stage.start()
  const node: NodeState = { incarnation: 5 as Incarnation }
  await stage.store.transact([], [{ kind: 'put', key: nodeKey(1), value: encodeState(node) }])
  stage.registration.update({ isStopping: true })
  await stage.settle()
  assert.match(stage.over.join(), /started again elsewhere/)
})
