/**
 * ApiVersions (18): which requests in which versions are served.
 *
 * Versions  0–4, flexible from 3. v3 has the client's software and the features of the cluster, v4 may tell features whose least version is 0
 * Response  its header is always v0, in flexible versions too; a version that is not served is answered in the layout of v0 (KIP-511)
 * Access    before authentication, and as often as a client likes
 * Traps     features that are told change what Java and franz-go send; left out, as tagged fields are, they mean none
 */
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
