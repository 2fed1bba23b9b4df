/**
 * DeleteTopics (20): removes topics.
 *
 * Versions  1–6, flexible from 4. v5 has error texts, v6 names topics by id too
 * Request   v6: a name, or null and an id
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, string, struct, uuid } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const deleteTopics = new KafkaApi({
  key: KafkaKey.DELETE_TOPICS,
  name: 'DeleteTopics',
  versions: [1, 6],
  flexibleSince: 4,
  request: struct({
    topics: array(struct({ name: string.nullable(), topicId: uuid })).since(6),
    topicNames: array(string).until(5),
    timeoutMs: int32,
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    responses: array(
      struct({
        name: string.nullable(6),
        topicId: uuid.since(6),
        errorCode: int16,
        errorMessage: string.nullable().since(5).or(null),
      }),
    ),
  }),
})
