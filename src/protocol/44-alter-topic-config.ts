/**
 * alter-topic-config (44): sets and removes configuration keys of a topic, all or none.
 *
 * Versions  1
 * Reply     the keys the topic has set itself afterwards
 * Failure   UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG naming the key
 */
import { TOPIC_CONFIG_KEYS_MAX, TOPIC_NAME_LENGTH_MAX } from './19-create-topic.ts'
import { Api, makeCodec } from './api.ts'

export interface AlterTopicConfigRequest {
  readonly name: string
  readonly set: Readonly<Record<string, string>>
  readonly remove: readonly string[]
}

export interface AlterTopicConfigReply {
  readonly config: Readonly<Record<string, string>>
}

export const alterTopicConfig = makeCodec<AlterTopicConfigRequest, AlterTopicConfigReply>({
  api: Api.ALTER_TOPIC_CONFIG,
  name: 'alter-topic-config',
  writeRequest: (request) => [request.name, request.set, request.remove],
  readRequest: (fields) => ({
    name: fields.text('name', TOPIC_NAME_LENGTH_MAX),
    set: fields.textMap('set', TOPIC_CONFIG_KEYS_MAX),
    remove: fields.texts('remove', TOPIC_CONFIG_KEYS_MAX, TOPIC_NAME_LENGTH_MAX),
  }),
  writeReply: (reply) => [reply.config],
  readReply: (fields) => ({ config: fields.textMap('config', TOPIC_CONFIG_KEYS_MAX) }),
})
