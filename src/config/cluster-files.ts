/** config/cluster-3/node-N.yaml: three brokers on one machine, what differs between them and why. What is not here is as alone. */
import { formatValue } from './render.ts'
import { CONFIG_KEYS } from './schema.ts'

export const CLUSTER_NODES: readonly number[] = [1, 2, 3]
const PORT_OF_FIRST = 7171
const KAFKA_PORT_OF_FIRST = 9092

/** The file of one broker, 1 to 3. `npm run cluster` runs it, and has flags for what is different elsewhere. */
export function renderClusterNode(nodeId: number): string {
  const leaseTtl = formatValue('cluster.leaseTtl', CONFIG_KEYS['cluster.leaseTtl'].default)
  const lines = [
    '# yaml-language-server: $schema=../millrace.schema.json',
    `# Broker ${nodeId} of three on one machine, with one etcd: npm run cluster. Alone: millrace start -c config/cluster-3/node-${nodeId}.yaml`,
    '# On machines of their own: docs/deploy.md, "A cluster of three machines".',
    '',
    '# The same number for ever: the data dir and the places of replicas go by it. Each broker has another.',
    `nodeId: ${nodeId}`,
    '# Clients and the other brokers are told this address, so they must reach it: not 0.0.0.0 (else listeners.advertised).',
    `listen: 127.0.0.1:${PORT_OF_FIRST + nodeId - 1}`,
    '# The same for Kafka clients (else listeners.kafka.advertised); off: they cannot come in.',
    `kafka: 127.0.0.1:${KAFKA_PORT_OF_FIRST + nodeId - 1}`,
    '# A disk of its own for each broker, where they share a machine: what fails together is no replica.',
    `dataDir: ./data/cluster/node-${nodeId}`,
    '# All members of etcd, so that the loss of one is none. This is what makes it a cluster.',
    'etcd: [http://127.0.0.1:2379]',
    '# Three brokers share the cores here. On a machine of its own: auto (cores - 1).',
    'shards: 1',
    '',
    'cluster:',
    '  # Replicas of a partition go to different racks, so that what fails together does not hold all. Empty: each broker is one.',
    '  rack: ""',
    "  # Brokers know each other by it. Empty: the first broker makes one and keeps it in etcd, which then must be nobody else's.",
    '  secret: ""',
    `  # After so long without a word to etcd a broker is given up (docs/deploy.md argues ${leaseTtl}); a killed process is found out sooner.`,
    `  leaseTtl: ${leaseTtl}`,
    '',
    'topics:',
    '  # Any two may be lost without losing a record, where the third is in sync. acks=all waits for all that are in sync, at least for',
    '  # min.insync.replicas of the topic: millrace topic create NAME --config min.insync.replicas=2 is never acknowledged by one copy.',
    '  # Not here for all topics, because one with a single replica would then take nothing.',
    '  replicas: 3',
  ]
  return `${lines.join('\n')}\n`
}
