/** A broker's configuration under the names that Kafka's tools ask for, as far as there is the like; read only. */
import { configText, configTypeOf } from '../../../kafka/topic-configs.ts'
import type { KafkaContext } from '../kafka-handler.ts'
import { type ConfigRow, ConfigSource } from './topic-config-rows.ts'

const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000

function valuesOf(gateway: KafkaContext): Readonly<Record<string, string>> {
  const { config, identity } = gateway
  const { topics, groups, transactions } = config
  const { config: byDefault } = topics
  const self = gateway.kafkaBrokers().find(({ nodeId }) => nodeId === identity.nodeId)
  return {
    'advertised.listeners': self === undefined ? '' : `PLAINTEXT://${self.host}:${self.port}`,
    'auto.create.topics.enable': String(topics.autoCreate),
    'broker.id': String(identity.nodeId),
    'broker.rack': config.cluster.rack ?? '',
    'compression.type': 'producer',
    'connections.max.idle.ms': String(config.kafka.idleMs),
    'default.replication.factor': String(topics.replicas),
    'delete.topic.enable': 'true',
    'log.cleanup.policy': configText(byDefault.cleanupPolicy),
    'log.dirs': config.dataDir,
    'log.retention.bytes': configText(byDefault.retentionBytes),
    'log.retention.hours': String(Math.floor(byDefault.retentionMs / HOUR_MS)),
    'log.retention.ms': configText(byDefault.retentionMs),
    'log.segment.bytes': configText(byDefault.segmentBytes),
    'message.max.bytes': configText(byDefault.maxMessageBytes),
    'min.insync.replicas': configText(byDefault.minInsyncReplicas),
    'num.partitions': String(topics.partitions),
    'offsets.retention.minutes': String(Math.floor(groups.offsetsRetentionMs / MINUTE_MS)),
    'offsets.topic.num.partitions': String(groups.offsetsPartitions),
    'transaction.max.timeout.ms': String(transactions.timeoutMsMax),
    'transaction.state.log.num.partitions': String(transactions.statePartitions),
    'unclean.leader.election.enable': configText(byDefault.uncleanLeaderElection),
  }
}

/** `keys` null or empty = all. */
export function brokerConfigs(gateway: KafkaContext, keys: readonly string[] | null): ConfigRow[] {
  const values = valuesOf(gateway)
  const wanted = keys === null || keys.length === 0 ? Object.keys(values) : keys
  return wanted.flatMap((name): ConfigRow[] => {
    const value = Object.hasOwn(values, name) ? values[name] : undefined
    if (value === undefined) return []
    return [
      {
        ...{ name, value, readOnly: true, configSource: ConfigSource.STATIC_BROKER, isSensitive: false },
        ...{ synonyms: [], configType: configTypeOf(name, value), documentation: null },
      },
    ]
  })
}
