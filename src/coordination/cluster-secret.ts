/**
 * Secrets that all brokers of a cluster have: made by the first one that needs it, kept in the store. What brokers know each other by, where
 * none is configured; what SASL makes up credentials of unknown users from.
 */
import { MillraceError } from '../model/errors.ts'
import { decodeState, encodeState, SECRET_KEY, type SecretState } from './keys.ts'
import type { MetadataStore } from './metadata-store.ts'

/** The one by which brokers know each other. */
export function clusterSecretOf(store: MetadataStore, newId: () => string): Promise<string> {
  return storedSecretOf(store, SECRET_KEY, newId)
}

/** `newId` makes it where there is none yet: 128 bits that nobody can guess, twice. */
export async function storedSecretOf(store: MetadataStore, key: string, newId: () => string): Promise<string> {
  const made: SecretState = { secret: newId() + newId() }
  const stored = await store.get(key)
  if (stored !== undefined) return decodeState<SecretState>(key, stored.value).secret
  await store.transact([{ kind: 'absent', key }], [{ kind: 'put', key, value: encodeState(made) }])
  const now = await store.get(key)
  if (now === undefined) throw new MillraceError('BROKER_NOT_AVAILABLE', `the metadata store lost the secret ${key}`)
  return decodeState<SecretState>(key, now.value).secret
}
