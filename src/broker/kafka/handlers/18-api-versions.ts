/**
 * ApiVersions (18): v0–4: what is served, sorted by key; before authentication and at any time.
 *
 * Version   one above ours is answered in the layout of v0 with UNSUPPORTED_VERSION and our versions of this API, so that the client comes
 *           down to them (KIP-511); dispatcher.ts sees to that
 * Features  none are told: clients take the classic transaction and group protocols for what is here unless they ask for others by the API
 */

import { apiVersions } from '../../../kafka/apis/18-api-versions.ts'
import { KAFKA_APIS } from '../../../kafka/apis/index.ts'
import { coldHandler } from '../kafka-handler.ts'

/** Of names and versions of client software (KIP-511). */
const SOFTWARE = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/
const SOFTWARE_SINCE = 3

export const SERVED_KAFKA_APIS = KAFKA_APIS.map(({ key, advertisedMin, versionMax }) => ({
  ...{ apiKey: key, minVersion: advertisedMin, maxVersion: versionMax },
})).sort((left, right) => left.apiKey - right.apiKey)

export const apiVersionsHandler = coldHandler(apiVersions, (call) => {
  const { version, request } = call
  const isNamed = SOFTWARE.test(request.clientSoftwareName) && SOFTWARE.test(request.clientSoftwareVersion)
  if (version >= SOFTWARE_SINCE && !isNamed) return { errorCode: call.code('INVALID_REQUEST'), apiKeys: [] }
  return { errorCode: 0, apiKeys: SERVED_KAFKA_APIS }
})
