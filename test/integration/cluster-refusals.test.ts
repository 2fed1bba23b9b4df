/** Who may not join a cluster, on real etcd: a second broker with a node id, a data dir of another cluster. And who waits for his turn. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { BrokerProcess } from '../support/broker-process.ts'
import { EtcdCluster, findEtcd } from '../support/etcd-process.ts'
import { millrace } from '../support/run-millrace.ts'

const etcdFound = findEtcd()
const etcdOptions = etcdFound.kind === 'found' ? {} : { skip: etcdFound.reason }
const program = etcdFound.kind === 'found' ? etcdFound.program : ''
const folder = mkdtempSync(join(tmpdir(), 'millrace-cluster-start-'))
after(() => rmSync(folder, { recursive: true, force: true }))

async function fails(args: readonly string[], text: RegExp): Promise<void> {
  const { code, stderr } = await millrace(args, { env: { NO_COLOR: '1' } })
  assert.match(stderr, text)
  assert.equal(code, 1)
}

test(
  'a node id that lives elsewhere and a data dir of another cluster are refused; after kill -9 it is waited for',
  etcdOptions,
  async () => {
    const [etcd, other] = await Promise.all([EtcdCluster.start({ program }), EtcdCluster.start({ program })])
    const flags = ['--shards', '1', '--set', 'cluster.leaseTtl=2s']
    const mine = join(folder, 'first')
    const args = [...flags, '--node-id', '7', '--etcd', etcd.urls[0]!]
    const first = await BrokerProcess.start({ dataDir: mine, args })
    const second = ['start', '--listen', '127.0.0.1:0', '--node-id', '7', ...flags]
    try {
      const elsewhere = [...second, '--data-dir', join(folder, 'second'), '--etcd', etcd.urls[0]!]
      // It says before that it waits: the other one's lease might have been one that nobody renews.
      const taken = `error: a broker with node id 7 lives at ${first.url}: stop it, or give this one another node id`
      await fails(elsewhere, new RegExp(`(^|\n)${taken} \\[DUPLICATE_BROKER_REGISTRATION\\]\n$`))
      // Its registration is there until the lease is over; nobody is left to find it dead sooner.
      await first.kill()
      await first.start()
      assert.deepEqual((await first.readiness()).reasons, [])
      await first.stop()
      const refused = /the data dir '.*' belongs to cluster '\w+', this broker to '\w+'/
      await fails([...second, '--data-dir', mine, '--etcd', other.urls[0]!], refused)
    } finally {
      await first.kill()
      await Promise.all([etcd.close(), other.close()])
    }
  },
)
