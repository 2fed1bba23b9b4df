/**
 * What an error of etcd3 or gRPC means for a request. Pure: they differ in little but their texts, which stand here and nowhere else.
 *
 * | kind        | was it applied?                                | then |
 * | ----------- | ---------------------------------------------- | ---- |
 * | unsent      | no, and it never will be                       | another member is asked |
 * | lost        | perhaps, perhaps later                         | a read is repeated, a transaction read back |
 * | refused     | no, and repeating does not help                | the caller is told, `code` and `reason` |
 * | lease-gone  | no: it names a lease that there is not         | |
 * | compacted   | no: it asks for a past that is forgotten       | |
 */
import type { ErrorCode } from '../model/errors.ts'

export type EtcdFault =
  | { readonly kind: 'unsent' | 'lost' | 'lease-gone' | 'compacted'; readonly reason: string }
  | { readonly kind: 'refused'; readonly reason: string; readonly code: ErrorCode }

/** Part of an error's text -> what it means; the first that fits. */
const REFUSALS: readonly (readonly [text: RegExp, code: ErrorCode, reason: string])[] = [
  [/authentication failed/, 'BROKER_NOT_AVAILABLE', 'authentication failed: user or password is wrong'],
  [/user name is empty/, 'BROKER_NOT_AVAILABLE', 'authentication failed: etcd wants a user, and none is configured'],
  [
    /authentication is not enabled/,
    'BROKER_NOT_AVAILABLE',
    'authentication failed: etcd has none, and a user is configured',
  ],
  [
    /permission denied/,
    'BROKER_NOT_AVAILABLE',
    'permission denied: the user must read and write the keys of /millrace/',
  ],
  [/database space exceeded/, 'DISK_FULL', 'its database is full (quota-backend-bytes)'],
  [
    /request is too large|duplicate key|too many operations/,
    'INVALID_ARGUMENT',
    'the transaction is beyond its bounds',
  ],
]
/** The call never left this process, or was turned away before it was looked at. */
const UNSENT =
  /No connection established|Name resolution failed|Waiting for (?:LB pick|name resolution)|too many requests|invalid auth token|auth store is old|Channel closed before call started/

export function faultOf(error: unknown): EtcdFault {
  const text = error instanceof Error ? error.message : String(error)
  if (text.includes('requested lease not found')) return { kind: 'lease-gone', reason: 'the lease does not exist' }
  if (/revision has been compacted|is a future revision/.test(text)) return { kind: 'compacted', reason: 'compacted' }
  for (const [pattern, code, reason] of REFUSALS) if (pattern.test(text)) return { kind: 'refused', reason, code }
  return { kind: UNSENT.test(text) ? 'unsent' : 'lost', reason: reasonOf(text) }
}

/** What was wrong, for a person; '' when gRPC does not say. */
function reasonOf(text: string): string {
  if (text.includes('ECONNREFUSED')) return 'connection refused'
  if (text.includes('Name resolution failed')) return 'its name is not known'
  // What gRPC wraps around what was wrong.
  const bare = text
    .replace(/^\d+ [A-Z_]+: /, '')
    .replace(/^No connection established\. Last error: (?:Error: )?/, '')
    .replace(/\.? Resolution note:.*$/s, '')
    .replace(/ \(\d{4}-\d\d-\d\dT[^)]*\)$/, '')
    .slice(0, 200)
  if (/certificate|\bTLS\b|\bSSL\b|altname|wrong version number|handshake/i.test(bare)) return `TLS: ${bare}`
  if (/Deadline exceeded|request timed out/i.test(bare)) return 'timeout: no answer'
  // gRPC pauses after an attempt whose error it told another caller, or nobody.
  if (bare === 'null') return ''
  if (/Connection dropped|Failed to connect|ECONNRESET|socket hang up/i.test(bare)) return 'the connection broke'
  return bare
}
