/** Who a token belongs to, and what brokers alone may do. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Authenticator } from '../../../src/broker/authenticate.ts'
import { ANONYMOUS, authorise, BROKER, CLUSTER, OPERATIONS, TOKEN_HOLDER } from '../../../src/broker/authorise.ts'
import { Api } from '../../../src/protocol/index.ts'

test('tokens, no tokens, and the secret of the cluster', () => {
  const open = new Authenticator({ tokens: [], origins: [] })
  assert.deepEqual([open.principalOf(null), open.principalOf('x')], [ANONYMOUS, ANONYMOUS])
  const guarded = new Authenticator({ tokens: ['t1', 't2'], origins: [], clusterSecret: 's' })
  assert.deepEqual(
    [null, '', 'x', 't1', 't2', 's'].map((token) => guarded.principalOf(token)),
    [undefined, undefined, undefined, TOKEN_HOLDER, TOKEN_HOLDER, BROKER],
  )
  const cluster = new Authenticator({ tokens: [], origins: [], clusterSecret: 's' })
  assert.deepEqual([cluster.principalOf('x'), cluster.principalOf('s')], [ANONYMOUS, BROKER])
  // A broker alone has no secret: no token makes anybody a broker.
  assert.equal(open.principalOf('undefined'), ANONYMOUS)
})

test('the holder of a token: no token that is none, no cluster secret, and nobody where there are no tokens', () => {
  const guarded = new Authenticator({ tokens: ['t1', 't2'], origins: [], clusterSecret: 's' })
  assert.deepEqual(
    ['', 'x', 't1', 't2', 's'].map((token) => guarded.tokenHolderOf(token)),
    [undefined, undefined, TOKEN_HOLDER, TOKEN_HOLDER, undefined],
  )
  assert.equal(new Authenticator({ tokens: [], origins: [] }).tokenHolderOf('x'), undefined)
})

test('what brokers do among themselves nobody else may', () => {
  const replication = [Api.WRITE_TXN_MARKERS, Api.REPLICA_PROGRESS, Api.REPLICA_FETCH, Api.REGISTER_PRODUCERS]
  for (const api of [...replication, Api.SUSPECT_BROKER, Api.PROBE_BROKER]) {
    const { operation } = OPERATIONS[api]!
    assert.deepEqual(
      [undefined, ANONYMOUS, TOKEN_HOLDER, BROKER].map((principal) => authorise(principal, operation, CLUSTER)),
      [false, false, false, true],
      String(api),
    )
  }
  assert.equal(authorise(BROKER, 'create', { kind: 'topic', name: 't' }), true)
})
