/** What no make of the MetadataStore takes, refused before anything else: the bounds are etcd's, kept by all makes. Pure. */
import { MillraceError } from '../model/errors.ts'
import {
  STORE_OPERATIONS_MAX,
  STORE_TRANSACTION_BYTES_MAX,
  STORE_VALUE_BYTES_MAX,
  type StoreCondition,
  type StoreOperation,
} from './metadata-store.ts'

const KEY_LENGTH_MAX = 4_096

/** Throws MillraceError INVALID_ARGUMENT that names what is out of bounds. */
export function checkTransaction(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): void {
  if (operations.length > STORE_OPERATIONS_MAX || conditions.length > STORE_OPERATIONS_MAX)
    throw new MillraceError('INVALID_ARGUMENT', `a transaction has at most ${STORE_OPERATIONS_MAX} operations`)
  const seen = new Set<string>()
  let bytes = 0
  for (const operation of operations) {
    const { key } = operation
    if (key === '' || key.length > KEY_LENGTH_MAX)
      throw new MillraceError('INVALID_ARGUMENT', `a key has 1 to ${KEY_LENGTH_MAX} characters`)
    if (seen.has(key)) throw new MillraceError('INVALID_ARGUMENT', `the key ${key} comes twice in one transaction`)
    seen.add(key)
    bytes += key.length
    if (operation.kind !== 'put') continue
    if (operation.value.length > STORE_VALUE_BYTES_MAX)
      throw new MillraceError('INVALID_ARGUMENT', `${key}: a value has at most ${STORE_VALUE_BYTES_MAX} bytes`)
    bytes += operation.value.length
  }
  if (bytes > STORE_TRANSACTION_BYTES_MAX)
    throw new MillraceError(
      'INVALID_ARGUMENT',
      `a transaction has at most ${STORE_TRANSACTION_BYTES_MAX} bytes of keys and values, not ${bytes}`,
    )
}

export function checkTtl(ttlMs: number): void {
  if (!(ttlMs > 0 && Number.isFinite(ttlMs)))
    throw new MillraceError('INVALID_ARGUMENT', `a lease lasts more than 0 ms, not ${ttlMs}`)
}
