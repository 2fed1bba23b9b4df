/** /readyz in a cluster: a broker is ready without any other, and says what it waits for when it is not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HttpReply, HttpRequest } from '../../src/broker/listeners/web-socket-engine.ts'
import { BrokerCluster } from '../support/broker-cluster.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 30_000
const REQUEST: HttpRequest = {
  ...{ method: 'GET', path: '/readyz', query: '', origin: '', authorization: '', contentType: '', host: '' },
  body: new Uint8Array(),
}

interface Readiness {
  readonly ready: boolean
  readonly reasons: readonly string[]
}

async function readyz(cluster: BrokerCluster, nodeId: number): Promise<Readiness & Pick<HttpReply, 'status'>> {
  const { status, body } = await cluster.brokers.get(nodeId)!.gateway.onHttp(REQUEST)
  return { status, ...(JSON.parse(String(body)) as Readiness) }
}

test('the first broker of a cluster is ready alone, others beside it; not while the store refuses their registration', async () => {
  const cluster = await BrokerCluster.start({ nodes: 1 })
  try {
    const isReady = (nodeId: number) => async () => (await readyz(cluster, nodeId)).status === 200
    await until('readiness alone', WAIT_MS, isReady(1))
    await cluster.add(2)
    await until('readiness of the second', WAIT_MS, isReady(2))
    // The store takes nothing of it any more: the lease cannot be renewed, nor another one had.
    const { store } = cluster
    const lease = store.lease
    store.lease = () => Promise.reject(new Error('etcd is away'))
    await cluster.expire(2)
    await until('a broker that is not ready', WAIT_MS, async () => !(await readyz(cluster, 2)).ready)
    const { status, reasons } = await readyz(cluster, 2)
    assert.equal(status, 503)
    assert.match(reasons.join(), /not registered in the cluster/)
    assert.equal((await readyz(cluster, 1)).status, 200, 'the other one is as it was')
    store.lease = lease
    await until('readiness again', WAIT_MS, isReady(2))
  } finally {
    await cluster.close()
  }
})
