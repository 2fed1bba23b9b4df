/**
 * The table of docs/kafka.md: what the Kafka door serves, in which versions, from the schema itself (src/kafka/apis). It stands between two
 * markers; what is around it is written by hand.
 */
import { KAFKA_APIS } from '../src/kafka/apis/index.ts'
import { KafkaKey } from '../src/kafka/keys.ts'

const BEGIN = '<!-- what is served: npm run generate -->'
const END = '<!-- end of what is served -->'

/** What a reader should know before they try it. */
const NOTES: Readonly<Record<number, string>> = {
  [KafkaKey.PRODUCE]:
    'one batch of magic 2 for each partition; 0 to 2 are told for the sake of old librdkafka and closed',
  [KafkaKey.FETCH]: 'no fetch sessions; topics by id from 13; followers answer clients of their rack from 11',
  [KafkaKey.LIST_OFFSETS]: 'nothing is tiered: -5 is answered -1',
  [KafkaKey.METADATA]: 'creates topics where `topics.autoCreate` is set',
  [KafkaKey.FIND_COORDINATOR]: 'groups and transactional ids',
  [KafkaKey.JOIN_GROUP]: 'classic groups, static members too',
  [KafkaKey.API_VERSIONS]: 'no features are told',
  [KafkaKey.SASL_HANDSHAKE]: 'PLAIN, SCRAM-SHA-256, SCRAM-SHA-512',
  [KafkaKey.CREATE_TOPICS]: 'replicas are placed by the cluster: explicit assignments are refused',
  [KafkaKey.CREATE_PARTITIONS]: 'as above',
  [KafkaKey.ADD_PARTITIONS_TO_TXN]: '4 and 5 are for brokers',
  [KafkaKey.DESCRIBE_ACLS]: 'no rules: SECURITY_DISABLED',
  [KafkaKey.CREATE_ACLS]: 'no rules: SECURITY_DISABLED',
  [KafkaKey.DELETE_ACLS]: 'no rules: SECURITY_DISABLED',
  [KafkaKey.DESCRIBE_CLIENT_QUOTAS]: 'there are none',
  [KafkaKey.ALTER_CLIENT_QUOTAS]: 'none can be set',
  [KafkaKey.DESCRIBE_CONFIGS]: 'topics, and brokers to read',
  [KafkaKey.ALTER_CONFIGS]: 'topics',
  [KafkaKey.INCREMENTAL_ALTER_CONFIGS]: 'topics',
  [KafkaKey.LIST_TRANSACTIONS]: 'no patterns (2)',
  [KafkaKey.CONSUMER_GROUP_HEARTBEAT]: 'KIP-848; native members share the group',
}

/** The text of the file with the table as it should be; throws where the markers are not. */
export function withKafkaTable(text: string): string {
  const begin = text.indexOf(BEGIN)
  const end = text.indexOf(END)
  if (begin === -1 || end < begin) throw new Error(`docs/kafka.md has no '${BEGIN}' … '${END}'`)
  return `${text.slice(0, begin + BEGIN.length)}\n\n${renderTable()}\n${text.slice(end)}`
}

function renderTable(): string {
  const rows = KAFKA_APIS.map(({ key, name, advertisedMin, versionMin, versionMax, flexibleSince }) => [
    String(key),
    name,
    rangeOf(versionMin, versionMax),
    advertisedMin === versionMin ? '' : rangeOf(advertisedMin, versionMax),
    flexibleSince === Infinity ? 'never' : String(flexibleSince),
    NOTES[key] ?? '',
  ])
  const head = ['key', 'API', 'versions', 'told as', 'flexible from', 'note']
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |\n`).join('')
}

function rangeOf(min: number, max: number): string {
  return min === max ? String(min) : `${min}–${max}`
}
