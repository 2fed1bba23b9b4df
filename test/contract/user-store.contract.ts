/** What the users of a cluster must be, on each make of the metadata store. Run by user-store.test.ts and etcd-metadata-store.test.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/base/bytes.ts'
import { decodeState, SASL_SECRET_KEY, USERS_PREFIX, type UserState, userKey } from '../../src/coordination/keys.ts'
import type { MetadataStore } from '../../src/coordination/metadata-store.ts'
import { type Credentials, mechanismsOf, UserStore } from '../../src/coordination/user-store.ts'
import { systemTime } from '../../src/in-process/time-source.ts'
import { SCRAM_KEY_BYTES, type ScramMechanism } from '../../src/model/users.ts'
import { hasCode, until } from '../support/expect.ts'
import type { StoreMake } from './metadata-store.contract.ts'

/** Credentials that say nothing but which they are. */
export function credentials(mark: number, ...mechanisms: readonly ScramMechanism[]): Credentials {
  return new Map(
    mechanisms.map((mechanism) => {
      const key = new Uint8Array(SCRAM_KEY_BYTES[mechanism]).fill(mark)
      return [mechanism, { salt: Uint8Array.of(mark, 1), iterations: 4096 + mark, storedKey: key, serverKey: key }]
    }),
  )
}

let nextId = 0
export function usersOf(store: MetadataStore, told: string[] = []): UserStore {
  return new UserStore({
    store,
    timers: systemTime,
    newId: () => `${'0'.repeat(24)}${String(nextId++).padStart(8, '0')}`,
    onUnreadable: (text) => told.push(text),
  })
}

const set = (name: string, given: Credentials) => ({ name, remove: [], set: given }) as const

export function userStoreContract(name: string, make: StoreMake, options: { readonly skip?: string } = {}): void {
  const withUsers = (title: string, work: (users: UserStore, store: MetadataStore) => Promise<void>) =>
    test(`users, ${name}: ${title}`, options, async () => {
      const store = await make.open()
      const users = usersOf(store)
      try {
        await work(users, store)
      } finally {
        await users.close()
        await store.close()
      }
    })

  changes(withUsers)
  followed(withUsers, make)
}

type WithUsers = (title: string, work: (users: UserStore, store: MetadataStore) => Promise<void>) => void

function changes(withUsers: WithUsers): void {
  withUsers(
    'a user is what was set last, mechanism by mechanism, and here when the change has resolved',
    async (users) => {
      await users.open()
      assert.deepEqual(users.all(), [])
      await users.change(set('alice', credentials(1, 'SCRAM-SHA-256')))
      await users.change(set('alice', credentials(2, 'SCRAM-SHA-512')))
      assert.deepEqual(
        users.get('alice')!.credentials,
        new Map([...credentials(1, 'SCRAM-SHA-256'), ...credentials(2, 'SCRAM-SHA-512')]),
      )
      assert.deepEqual(mechanismsOf(users.get('alice')!), ['SCRAM-SHA-256', 'SCRAM-SHA-512'])
      await users.change({ name: 'alice', remove: ['SCRAM-SHA-256'], set: new Map() })
      assert.deepEqual(users.get('alice')!.credentials, credentials(2, 'SCRAM-SHA-512'))
      await users.change({ name: 'alice', remove: 'all', set: credentials(3, 'SCRAM-SHA-256') })
      assert.deepEqual(users.get('alice')!.credentials, credentials(3, 'SCRAM-SHA-256'), "'all' replaces")
      await users.change({ name: 'alice', remove: 'all', set: new Map() })
      assert.equal(users.get('alice'), undefined)
    },
  )

  withUsers('who loses the last credential is gone', async (users, store) => {
    await users.change(set('alice', credentials(1, 'SCRAM-SHA-256')))
    await users.change({ name: 'alice', remove: ['SCRAM-SHA-256'], set: new Map() })
    assert.equal(users.get('alice'), undefined)
    assert.deepEqual((await store.list(USERS_PREFIX)).values, [])
  })

  withUsers('what is not there cannot be removed, and nothing else of the change is done then', async (users) => {
    const gone = { name: 'bob', remove: 'all', set: new Map() } as const
    await assert.rejects(users.change(gone), hasCode('RESOURCE_NOT_FOUND', /there is no user bob/))
    const halfway = { name: 'bob', remove: ['SCRAM-SHA-512'], set: credentials(1, 'SCRAM-SHA-256') } as const
    await assert.rejects(users.change(halfway), hasCode('RESOURCE_NOT_FOUND', /there is no user bob/))
    await users.change(set('bob', credentials(1, 'SCRAM-SHA-256')))
    await assert.rejects(users.change(halfway), hasCode('RESOURCE_NOT_FOUND', /bob has no SCRAM-SHA-512/))
    assert.deepEqual(users.get('bob')!.credentials, credentials(1, 'SCRAM-SHA-256'))
  })

  withUsers('names of any kind lie side by side', async (users, store) => {
    const names = ['a', 'a/b', 'CN=x, O=Müller', 'アリス', '🦀', '\u{10ffff}', ' ', '..', 'x'.repeat(249)]
    for (const [index, name] of names.entries()) await users.change(set(name, credentials(index, 'SCRAM-SHA-256')))
    const another = usersOf(store)
    await another.open()
    for (const [index, name] of names.entries())
      assert.deepEqual(another.get(name)!.credentials, credentials(index, 'SCRAM-SHA-256'), name)
    assert.deepEqual(
      another.all().map(({ name }) => name),
      [...names].sort((left, right) => (left < right ? -1 : 1)),
    )
    await another.close()
  })

  withUsers('what lies in the store has no password in it, and is the documented layout', async (users, store) => {
    await users.change(set('alice', credentials(7, 'SCRAM-SHA-256')))
    const key = userKey('alice')
    assert.equal(key, '/millrace/v1/users/alice')
    const state = decodeState<UserState>(key, (await store.get(key))!.value)
    const bytes = Buffer.alloc(32, 7).toString('base64')
    assert.deepEqual(state, {
      credentials: { 'SCRAM-SHA-256': { salt: 'BwE=', iterations: 4103, storedKey: bytes, serverKey: bytes } },
    })
  })

  withUsers('the secret is made once, and is the same for whoever comes after', async (users, store) => {
    assert.equal(users.secret, '')
    await users.open()
    assert.match(users.secret, /^[0-9a-f]{64}$/)
    const another = usersOf(store)
    await another.open()
    assert.equal(another.secret, users.secret)
    assert.match(utf8Decode((await store.get(SASL_SECRET_KEY))!.value), new RegExp(users.secret))
    await another.close()
  })

  withUsers('many changes at once: none is lost', async (users) => {
    const names = Array.from({ length: 30 }, (_, index) => `user-${index}`)
    await Promise.all(
      names.flatMap((name) => [
        users.change(set(name, credentials(1, 'SCRAM-SHA-256'))),
        users.change(set(name, credentials(1, 'SCRAM-SHA-512'))),
      ]),
    )
    for (const name of names) assert.equal(users.get(name)!.credentials.size, 2, name)
  })
}

function followed(withUsers: WithUsers, make: StoreMake): void {
  withUsers(
    'the image follows the store: what others write, and what cannot be read is nobody',
    async (users, store) => {
      const told: string[] = []
      const follower = usersOf(store, told)
      await follower.open()
      await users.change(set('alice', credentials(1, 'SCRAM-SHA-256')))
      await until(() => follower.get('alice') !== undefined)
      await users.change(set('alice', credentials(2, 'SCRAM-SHA-256')))
      await until(() => follower.get('alice')?.credentials.get('SCRAM-SHA-256')?.iterations === 4098)
      await store.transact([], [{ kind: 'put', key: userKey('alice'), value: utf8Encode('{"credentials":7}') }])
      await until(() => follower.get('alice') === undefined)
      assert.match(told[0]!, /value of \/millrace\/v1\/users\/alice is not readable: credentials/)
      await assert.rejects(users.change(set('alice', credentials(3, 'SCRAM-SHA-256'))), /is not readable/)
      await users.change({ name: 'alice', remove: 'all', set: credentials(3, 'SCRAM-SHA-256') })
      await until(() => follower.get('alice')?.credentials.get('SCRAM-SHA-256')?.iterations === 4099)
      await users.change({ name: 'alice', remove: 'all', set: new Map() })
      await until(() => follower.get('alice') === undefined)
      await follower.close()
    },
  )

  const { another } = make
  if (another === undefined) return
  withUsers('brokers that change a user at the same time: both changes are there', async (users) => {
    const otherStore = await another()
    const other = usersOf(otherStore)
    await Promise.all([users.open(), other.open()])
    for (let round = 0; round < 5; round++) {
      const name = `user-${round}`
      await Promise.all([
        users.change(set(name, credentials(1, 'SCRAM-SHA-256'))),
        other.change(set(name, credentials(2, 'SCRAM-SHA-512'))),
      ])
      const both = new Map([...credentials(1, 'SCRAM-SHA-256'), ...credentials(2, 'SCRAM-SHA-512')])
      for (const one of [users, other]) {
        await until(() => one.get(name)?.credentials.size === 2)
        assert.deepEqual(one.get(name)!.credentials, both)
      }
    }
    await other.close()
    await otherStore.close()
  })
}
