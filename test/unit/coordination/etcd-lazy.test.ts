/** A broker alone never pays for the cluster: etcd3 and gRPC are loaded by openEtcdStore, by nothing else. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { repositoryRoot } from '../../support/repository.ts'

test('etcd3 is loaded by openEtcdStore and not before', () => {
  const built = (path: string): string => JSON.stringify(pathToFileURL(join(repositoryRoot, 'dist/src', path)).href)
  const source = `
    import { createRequire } from 'node:module'
    import { openEtcdStore } from ${built('coordination/etcd-metadata-store.js')}
    import { createBroker } from ${built('index.js')}
    import { systemTime } from ${built('in-process/time-source.js')}
    const require = createRequire(${JSON.stringify(join(repositoryRoot, 'x.js'))})
    const isLoaded = () => Object.keys(require.cache).some((file) => /node_modules.(etcd3|@grpc)/.test(file))
    const broker = await createBroker({ storage: 'memory' })
    await broker.close()
    const before = isLoaded()
    const options = { urls: ['http://127.0.0.1:1'], clock: systemTime, timers: systemTime, newId: () => 'x', requestTimeoutMs: 100 }
    const error = await openEtcdStore(options).catch((error) => error)
    console.log(before, isLoaded(), error.code)`
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', source], { encoding: 'utf8', timeout: 60_000 })
  assert.equal(run.stdout.trim(), 'false true BROKER_NOT_AVAILABLE', run.stderr)
})
