/**
 * create-topic (19): makes a topic; it is visible everywhere when the reply comes.
 *
 * Versions  1
 * Failure   INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS (not with ifNotExists: created = false), INVALID_PARTITIONS,
 *           INVALID_REPLICATION_FACTOR, INVALID_CONFIG naming the key
 */
import type { TopicId } from '../model/ids.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'

export const TOPIC_NAME_LENGTH_MAX = 1024
export const TOPIC_CONFIG_KEYS_MAX = 100

export interface CreateTopicRequest {
  readonly name: string
  /** -1 = the broker's default. */
  readonly partitions: number
  /** -1 = the broker's default. */
  readonly replicas: number
  readonly config: Readonly<Record<string, string>>
  readonly ifNotExists: boolean
  /** Decide only; nothing is made. */
  readonly validateOnly: boolean
}

export interface CreateTopicReply {
  readonly topicId: TopicId
  readonly partitions: number
  readonly created: boolean
}

export const createTopic = makeCodec<CreateTopicRequest, CreateTopicReply>({
  api: Api.CREATE_TOPIC,
  name: 'create-topic',
  writeRequest: (request) => [
    request.name,
    request.partitions,
    request.replicas,
    request.config,
    request.ifNotExists,
    request.validateOnly,
  ],
  readRequest: (fields) => ({
    name: fields.text('name', TOPIC_NAME_LENGTH_MAX),
    partitions: fields.integer('partitions', -1, INT32_MAX),
    replicas: fields.integer('replicas', -1, INT32_MAX),
    config: fields.textMap('config', TOPIC_CONFIG_KEYS_MAX),
    ifNotExists: fields.boolean('ifNotExists'),
    validateOnly: fields.boolean('validateOnly'),
  }),
  writeReply: (reply) => [reply.topicId, reply.partitions, reply.created],
  readReply: (fields) => ({
    topicId: fields.topicId('topicId'),
    partitions: fields.integer('partitions', 1, INT32_MAX),
    created: fields.boolean('created'),
  }),
})
