/** The metadata store of the cluster that a configuration names: etcd. What it needs is loaded only then. */
import { readFile } from 'node:fs/promises'
import type { Clock } from '../base/clock.ts'
import type { BrokerConfig } from '../config/index.ts'
import type { MetadataStore } from '../coordination/metadata-store.ts'
import type { StoreTimers } from '../coordination/store-timers.ts'
import { MillraceError } from '../model/errors.ts'

export interface ClusterStoreContext {
  readonly clock: Clock
  readonly timers: StoreTimers
  readonly newId: () => string
}

/** Resolves when etcd answers; rejects with BROKER_NOT_AVAILABLE, or INVALID_CONFIG for a file that cannot be read. */
export async function openClusterStore(
  { etcdUrls, etcdUser, etcdPassword, etcdCa, etcdCert, etcdKey }: BrokerConfig['cluster'],
  context: ClusterStoreContext,
): Promise<MetadataStore> {
  const { openEtcdStore } = await import('../coordination/etcd-metadata-store.ts')
  const [ca, cert, key] = await Promise.all([
    pem('cluster.etcdCa', etcdCa),
    pem('cluster.etcdCert', etcdCert),
    pem('cluster.etcdKey', etcdKey),
  ])
  const isSecure = etcdUrls.some((url) => url.startsWith('https:'))
  return openEtcdStore({
    ...{ urls: etcdUrls, ...context },
    ...(etcdUser === '' ? {} : { user: etcdUser, password: etcdPassword }),
    ...(isSecure ? { tls: { ...ca, ...cert, ...key } } : {}),
  })
}

/** The text of a file, under the name that etcd's options have for it. */
async function pem(path: 'cluster.etcdCa' | 'cluster.etcdCert' | 'cluster.etcdKey', file: string): Promise<object> {
  if (file === '') return {}
  const name = { 'cluster.etcdCa': 'ca', 'cluster.etcdCert': 'cert', 'cluster.etcdKey': 'key' }[path]
  try {
    return { [name]: await readFile(file, 'utf8') }
  } catch (error) {
    throw new MillraceError('INVALID_CONFIG', `${path}: '${file}' cannot be read: ${String(error)}`)
  }
}
