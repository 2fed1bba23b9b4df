/** ApiVersions (18): v0–4. */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const apiVersions = new KafkaApi({
  key: KafkaKey.API_VERSIONS,
  name: 'ApiVersions',
  versions: [0, 4],
  flexibleSince: 3,
  request: struct({ clientSoftwareName: string.since(3), clientSoftwareVersion: string.since(3) }),
  response: struct({
    errorCode: int16,
    apiKeys: array(struct({ apiKey: int16, minVersion: int16, maxVersion: int16 })),
    throttleTimeMs: int32.since(1).or(0),
    supportedFeatures: array(struct({ name: string, minVersion: int16, maxVersion: int16 }))
      .since(3)
      .tag(0),
    finalizedFeaturesEpoch: int64.since(3).tag(1).or(-1),
    finalizedFeatures: array(struct({ name: string, maxVersionLevel: int16, minVersionLevel: int16 }))
      .since(3)
      .tag(2),
    zkMigrationReady: bool.since(3).tag(3),
  }),
})
