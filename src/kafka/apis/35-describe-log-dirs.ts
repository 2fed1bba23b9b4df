/**
 * DescribeLogDirs (35): how much of a broker's disk its partitions have.
 *
 * Versions  1–4, flexible from 2. v3 has an error of its own, v4 the size of the volume (-1 = not known)
 * Request   topics null = all
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const describeLogDirs = new KafkaApi({
  key: KafkaKey.DESCRIBE_LOG_DIRS,
  name: 'DescribeLogDirs',
  versions: [1, 4],
  flexibleSince: 2,
  request: struct({ topics: array(struct({ topic: string, partitions: array(int32) })).nullable() }),
  response: struct({
    throttleTimeMs: int32.or(0),
    errorCode: int16.since(3),
    results: array(
      struct({
        errorCode: int16,
        logDir: string,
        topics: array(
          struct({
            name: string,
            partitions: array(
              struct({ partitionIndex: int32, partitionSize: int64, offsetLag: int64, isFutureKey: bool }),
            ),
          }),
        ),
        totalBytes: int64.since(4).or(-1),
        usableBytes: int64.since(4).or(-1),
      }),
    ),
  }),
})
