/** The secret by which brokers of a cluster know each other, where none is configured: made by the first broker, kept in the store. */
import { MillraceError } from '../model/errors.ts'
import { decodeState, encodeState, SECRET_KEY, type SecretState } from './keys.ts'
import type { MetadataStore } from './metadata-store.ts'

/** `newId` makes it where there is none yet: 128 bits that nobody can guess, twice. */
export async function clusterSecretOf(store: MetadataStore, newId: () => string): Promise<string> {
  const made: SecretState = { secret: newId() + newId() }
  const stored = await store.get(SECRET_KEY)
  if (stored !== undefined) return decodeState<SecretState>(SECRET_KEY, stored.value).secret
  await store.transact(
    [{ kind: 'absent', key: SECRET_KEY }],
    [{ kind: 'put', key: SECRET_KEY, value: encodeState(made) }],
  )
  const now = await store.get(SECRET_KEY)
  if (now === undefined)
    throw new MillraceError('BROKER_NOT_AVAILABLE', 'the metadata store lost the secret of the cluster')
  return decodeState<SecretState>(SECRET_KEY, now.value).secret
}
