/**
 * FindCoordinator (10): which broker coordinates groups, or transactional ids.
 *
 * Versions  0–5, flexible from 3. v1 has the kind of key and an error text, v4 asks for several keys, v5 is v4 with the errors of transactions (KIP-890)
 * Request   v0 to v3 have one key, v4 a list; keyType 0 group, 1 transactional id; v0 means a group
 * Response  one without a coordinator has node -1, host '' and port -1
 * Traps     librdkafka has no groups at all where version 0 is not told
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int8, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const findCoordinator = new KafkaApi({
  key: KafkaKey.FIND_COORDINATOR,
  name: 'FindCoordinator',
  versions: [0, 5],
  flexibleSince: 3,
  request: struct({ key: string.until(3), keyType: int8.since(1), coordinatorKeys: array(string).since(4) }),
  response: struct({
    throttleTimeMs: int32.since(1).or(0),
    errorCode: int16.until(3),
    errorMessage: string.nullable().since(1).until(3).or(null),
    nodeId: int32.until(3),
    host: string.until(3),
    port: int32.until(3),
    coordinators: array(
      struct({
        key: string,
        nodeId: int32,
        host: string,
        port: int32,
        errorCode: int16,
        errorMessage: string.nullable().or(null),
      }),
    ).since(4),
  }),
})
