/**
 * What `npm run cluster` runs: the words of each process, where it listens, what it writes to. Pure.
 *
 * Brokers 1 to 3 have their files in config/cluster-3; flags say only what is not as there. Further ones take the last file.
 */
import { join } from 'node:path'
import { CLUSTER_NODES } from '../../src/config/index.ts'
import type { ClusterFlags } from './options.ts'

export const HOST = '127.0.0.1'
const DEFAULT_ETCD_PORT = 2379
const DEFAULT_PORTS_FROM = 7171
const DEFAULT_KAFKA_PORTS_FROM = 9092
const DEFAULT_DATA_DIR = './data/cluster'

export interface EtcdPlan {
  readonly url: string
  readonly healthUrl: string
  readonly args: readonly string[]
}

export interface BrokerPlan {
  readonly nodeId: number
  readonly name: string
  readonly url: string
  readonly port: number
  readonly dataDir: string
  /** After `millrace`. */
  readonly args: readonly string[]
}

export interface EtcdPorts {
  readonly client: number
  readonly peer: number
}

export function planEtcd(dataDir: string, ports: EtcdPorts): EtcdPlan {
  const url = `http://${HOST}:${ports.client}`
  const peer = `http://${HOST}:${ports.peer}`
  const name = 'etcd-1'
  return {
    url,
    healthUrl: `${url}/health`,
    args: [
      ...['--name', name, '--data-dir', join(dataDir, 'etcd')],
      ...['--listen-client-urls', url, '--advertise-client-urls', url],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `${name}=${peer}`],
      // Revisions older than an hour are of use to nobody: watches begin anew from a list.
      ...['--auto-compaction-mode', 'periodic', '--auto-compaction-retention', '1h'],
      ...['--logger', 'zap', '--log-level', 'warn'],
    ],
  }
}

export function planBrokers(flags: ClusterFlags, etcd: EtcdPorts): BrokerPlan[] {
  return Array.from({ length: flags.brokers }, (_, index) => planBroker(index + 1, flags, etcd))
}

function planBroker(nodeId: number, flags: ClusterFlags, etcd: EtcdPorts): BrokerPlan {
  const name = `node-${nodeId}`
  const port = flags.portsFrom + nodeId - 1
  // As far from the port of WebSockets as by default.
  const kafkaPort = port + DEFAULT_KAFKA_PORTS_FROM - DEFAULT_PORTS_FROM
  const dataDir = join(flags.dataDir, name)
  const hasFile = CLUSTER_NODES.includes(nodeId)
  const file = `config/cluster-3/node-${hasFile ? nodeId : CLUSTER_NODES.at(-1)}.yaml`
  const args = [
    ...['start', '-c', file],
    ...(hasFile ? [] : ['--node-id', String(nodeId)]),
    ...(hasFile && flags.portsFrom === DEFAULT_PORTS_FROM
      ? []
      : ['--listen', `${HOST}:${port}`, '--kafka', `${HOST}:${kafkaPort}`]),
    ...(hasFile && flags.dataDir === DEFAULT_DATA_DIR ? [] : ['--data-dir', dataDir]),
    ...(etcd.client === DEFAULT_ETCD_PORT ? [] : ['--etcd', `http://${HOST}:${etcd.client}`]),
  ]
  return { nodeId, name, port, dataDir, args, url: `ws://${HOST}:${port}` }
}

/** A line that a shell takes for these words. */
export function commandLine(words: readonly string[]): string {
  return words.map((word) => (/^[\w./:=,@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ')
}

/** What `--clean` removes: only what a cluster writes, whatever else lies in the folder. */
export function isOfCluster(entry: string): boolean {
  return /^(etcd|node-\d+)$/.test(entry)
}
