/** `millrace start --etcd` as a process: what a start in a cluster may have to wait for. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { brokerKey, encodeState } from '../../src/coordination/keys.ts'
import { makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { EtcdCluster, findEtcd } from '../support/etcd-process.ts'
import { millrace } from '../support/run-millrace.ts'

const found = findEtcd()
const skip = found.kind === 'absent' ? found.reason : false
const dataDir = makeDataDir()
let etcd: EtcdCluster | undefined

before(async () => {
  if (found.kind === 'found') etcd = await EtcdCluster.start({ program: found.program })
})
after(async () => {
  await etcd?.close()
  removeDataDir(dataDir)
})

test('a broker whose node id is taken waits for the other registration to end, and says so at last', {
  skip,
}, async () => {
  const state = { incarnation: 7, url: 'ws://elsewhere.example:7171', leaseId: '1', isClean: true, damaged: [] }
  await etcd!
    .admin()
    .put(brokerKey(1))
    .value(Buffer.from(encodeState(state)))
  const flags = ['start', '--data-dir', dataDir, '--listen', '127.0.0.1:0', '--node-id', '1', '--etcd', etcd!.urls[0]!]
  const { code, stderr } = await millrace([...flags, '--kafka', 'off', '--set', 'cluster.leaseTtl=2s'])
  assert.match(stderr, /node id 1 lives at ws:\/\/elsewhere\.example:7171/)
  assert.notEqual(code, 0)
})
