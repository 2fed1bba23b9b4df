/** Users whose store fails: lost replies, lost events, and what a list and a watch say in another order. The rest is test/contract. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../../src/base/bytes.ts'
import { systemClock } from '../../../src/base/node/system-clock.ts'
import { adopt, planAdoption } from '../../../src/coordination/adoption.ts'
import { beginIncarnation } from '../../../src/coordination/cluster-identity.ts'
import { encodeState, userKey } from '../../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../../src/coordination/memory-metadata-store.ts'
import {
  type MetadataStore,
  type StoreEvent,
  StoreOutcomeUnknownError,
  type StoreResult,
} from '../../../src/coordination/metadata-store.ts'
import { decodeUserState, userStateOf } from '../../../src/coordination/stored-states.ts'
import { UserStore } from '../../../src/coordination/user-store.ts'
import { MillraceError } from '../../../src/model/errors.ts'
import { SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN, USERS_MAX } from '../../../src/model/limits.ts'
import { credentials, usersOf } from '../../contract/user-store.contract.ts'
import { hasCode } from '../../support/expect.ts'

const set = (name: string, mark = 1) => ({ name, remove: [], set: credentials(mark, 'SCRAM-SHA-256') }) as const
const remove = (name: string) => ({ name, remove: 'all', set: new Map() }) as const
const iterationsOf = (users: UserStore, name: string) => users.get(name)?.credentials.get('SCRAM-SHA-256')?.iterations

/** A store that a test answers for. */
class FaultyStore extends MemoryMetadataStore {
  faults: ('lost before' | 'lost after')[] = []
  isListing = true
  onEvents: (events: readonly StoreEvent[]) => void = () => {}
  onResync: () => void = () => {}

  override async transact(...all: Parameters<MetadataStore['transact']>): Promise<StoreResult> {
    const fault = all[1].some(({ key }) => key.startsWith('/millrace/v1/users/')) ? this.faults.shift() : undefined
    if (fault === 'lost before') throw new StoreOutcomeUnknownError('lost on its way')
    const result = await super.transact(...all)
    if (fault === 'lost after') throw new StoreOutcomeUnknownError('the reply was lost')
    return result
  }

  override async list(prefix: string) {
    if (!this.isListing) throw new MillraceError('BROKER_NOT_AVAILABLE', 'no store')
    return super.list(prefix)
  }

  override async watch(...all: Parameters<MetadataStore['watch']>) {
    this.onEvents = all[2]
    this.onResync = all[3]
    return { close: async () => {} }
  }
}

test('a change whose outcome is not known is done again on what is there: applied or not, it is done once', async () => {
  const store = new FaultyStore(systemClock)
  const users = usersOf(store)
  for (const faults of [['lost before'], ['lost after'], ['lost after', 'lost before', 'lost after']] as const) {
    store.faults = [...faults]
    await users.change(set('alice', faults.length))
    assert.equal(iterationsOf(users, 'alice'), 4096 + faults.length)
    store.faults = [...faults]
    await users.change(remove('alice'))
    assert.equal(users.get('alice'), undefined)
    assert.equal(await store.get(userKey('alice')), undefined)
  }
  store.faults = Array(20).fill('lost before')
  await assert.rejects(users.change(set('alice')), hasCode('UNKNOWN_SERVER_ERROR', /not known whether/))
})

test('who is always too late is told so', async () => {
  const store = new FaultyStore(systemClock)
  const users = usersOf(store)
  await users.open()
  store.transact = async () => ({ applied: false, revision: 1 })
  await assert.rejects(users.change(set('alice')), hasCode('INVALID_UPDATE_VERSION', /changed by others 20 times/))
})

test('a store that does not answer at first: open() may be called again', async () => {
  const store = new FaultyStore(systemClock)
  store.isListing = false
  const users = usersOf(store)
  await assert.rejects(users.open(), hasCode('BROKER_NOT_AVAILABLE'))
  store.isListing = true
  await users.change(set('alice'))
  assert.equal(iterationsOf(users, 'alice'), 4097)
})

test('events that are older than what is known change nothing', async () => {
  const store = new FaultyStore(systemClock)
  const users = usersOf(store)
  await users.change(set('alice', 1))
  const old = (await store.get(userKey('alice')))!
  await users.change(set('alice', 2))
  await users.change(set('bob', 3))
  const bob = (await store.get(userKey('bob')))!
  await users.change(remove('bob'))
  const put = ({ key, value, modRevision }: typeof old) => ({ kind: 'put', key, value, revision: modRevision }) as const
  store.onEvents([put(old)])
  store.onEvents([put(bob)])
  assert.equal(iterationsOf(users, 'alice'), 4098)
  assert.equal(users.get('bob'), undefined)
})

test('lost events: what was missed is found by a list, which is tried again until there is one', async () => {
  const store = new FaultyStore(systemClock)
  const waiting: (() => void)[] = []
  const reasons: string[] = []
  const after = (_: number, task: () => void) => {
    waiting.push(task)
    return () => {}
  }
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  const users = new UserStore({
    ...{ store, timers: { after }, newId: () => '0' },
    onRetry: (reason) => reasons.push(reason),
  })
  await users.change(set('alice', 2))
  await users.change(set('carol', 3))
  const { onResync } = store
  // Another broker, whose changes nobody tells of.
  const other = usersOf(store)
  await other.change(set('alice', 4))
  await other.change(remove('carol'))
  await other.change(set('dave', 5))
  assert.equal(iterationsOf(users, 'alice'), 4098, 'nobody has told it')
  store.isListing = false
  onResync()
  await settle()
  assert.deepEqual([reasons.length, waiting.length], [1, 1])
  store.isListing = true
  waiting.shift()!()
  await settle()
  assert.deepEqual(
    users.all().map(({ name }) => [name, iterationsOf(users, name)]),
    [
      ['alice', 4100],
      ['dave', 4101],
    ],
  )
  await users.close()
  onResync()
  await settle()
  assert.equal(waiting.length, 0)
})

test('there are as many users as there may be', async () => {
  const store = new MemoryMetadataStore(systemClock)
  const value = encodeState(userStateOf(credentials(1, 'SCRAM-SHA-256')))
  for (let from = 0; from < USERS_MAX; from += 100)
    await store.transact(
      [],
      Array.from(
        { length: 100 },
        (_, index) => ({ kind: 'put', key: userKey(`user-${from + index}`), value }) as const,
      ),
    )
  const users = usersOf(store)
  await assert.rejects(users.change(set('one-more')), hasCode('POLICY_VIOLATION', /10000 users/))
  await users.change(set('user-7', 2))
  await users.change(remove('user-8'))
  await users.change(set('one-more'))
})

test('what is stored of a user is whole, or it is no user', () => {
  const key = userKey('alice')
  const whole = userStateOf(credentials(1, 'SCRAM-SHA-256', 'SCRAM-SHA-512')).credentials['SCRAM-SHA-256']!
  const decode = (change: object) =>
    decodeUserState(key, utf8Encode(JSON.stringify({ credentials: { 'SCRAM-SHA-256': { ...whole, ...change } } })))
  assert.deepEqual(decode({ ofAnotherRelease: 1 }), credentials(1, 'SCRAM-SHA-256'))
  for (const iterations of [SCRAM_ITERATIONS_MIN, SCRAM_ITERATIONS_MAX])
    assert.equal(decode({ iterations }).get('SCRAM-SHA-256')!.iterations, iterations)
  const wrong: readonly object[] = [
    { salt: '' },
    { salt: 'x' },
    { salt: 7 },
    { salt: Buffer.alloc(257).toString('base64') },
    { iterations: SCRAM_ITERATIONS_MIN - 1 },
    { iterations: SCRAM_ITERATIONS_MAX + 1 },
    { iterations: '4096' },
    { iterations: 5000.5 },
    { storedKey: Buffer.alloc(31).toString('base64') },
    { serverKey: null },
    { serverKey: Buffer.alloc(64).toString('base64') },
  ]
  for (const change of wrong)
    assert.throws(() => decode(change), /users\/alice is not readable: SCRAM-SHA-256/, JSON.stringify(change))
  const more = { credentials: { 'SCRAM-SHA-1024': 7 } }
  assert.equal(decodeUserState(key, encodeState(more)).size, 0, 'what another release has is passed over')
})

test('a change leaves what another release has put beside it, and all that goes takes it along', async () => {
  const store = new MemoryMetadataStore(systemClock)
  const key = userKey('alice')
  const beside = { 'SCRAM-SHA-1024': { salt: 'x' } }
  await store.transact([], [{ kind: 'put', key, value: encodeState({ credentials: beside, since: 7 }) }])
  const users = usersOf(store)
  await users.change(set('alice', 1))
  const stored = async () => JSON.parse(utf8Decode((await store.get(key))!.value)) as { credentials: object }
  const { credentials: made } = userStateOf(credentials(1, 'SCRAM-SHA-256'))
  assert.deepEqual(await stored(), { credentials: { ...beside, ...made }, since: 7 })
  await users.change({ name: 'alice', remove: ['SCRAM-SHA-256'], set: new Map() })
  assert.deepEqual(await stored(), { credentials: beside, since: 7 })
  await users.change({ ...set('alice', 1), remove: 'all' })
  assert.deepEqual(await stored(), { credentials: made })
})

test('a cluster that is made of a broker alone has its users, and its secret', async () => {
  const alone = new MemoryMetadataStore(systemClock)
  const broker = { nodeId: 1, clusterId: 'c'.repeat(32), directoryId: 'd' }
  await beginIncarnation(alone, { nodeId: 1, newId: () => broker.clusterId })
  const before = usersOf(alone)
  await before.change(set('alice', 9))
  const cluster = new MemoryMetadataStore(systemClock)
  assert.equal(await adopt(cluster, await planAdoption(alone, broker)), 'adopted')
  const after = usersOf(cluster)
  await after.open()
  assert.equal(iterationsOf(after, 'alice'), 4105)
  assert.equal(after.secret, before.secret)
})
