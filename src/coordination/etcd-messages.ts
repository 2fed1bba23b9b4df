/**
 * What the store's conditions, operations and events are in etcd's words, and back. Pure.
 *
 * Keys are UTF-8; etcd sorts by bytes, the other makes by UTF-16 units: the same for keys of ASCII, which ours are. Revisions are
 * int64 in text there, safe integers here.
 */
import type { ICompare, IEvent, IKeyValue, IRequestOp, IWatchResponse } from 'etcd3'
import { assert } from '../base/assert.ts'
import { utf8Decode } from '../base/bytes.ts'
import { KEY_LAYOUT_VERSION } from './keys.ts'
import type { StoreCondition, StoredValue, StoreEvent, StoreOperation } from './metadata-store.ts'

/** Keys of this make's own, which say what was applied (etcd-transactions.ts). Nobody is shown them. */
export const REQUESTS_PREFIX = `/millrace/v${KEY_LAYOUT_VERSION}/requests/`

export const keyBytes = (key: string): Buffer => Buffer.from(key, 'utf8')

/** The range [key, range_end) of all keys that begin with `prefix`. */
export function prefixRange(prefix: string): { key: Buffer; range_end: Buffer } {
  const key = keyBytes(prefix)
  for (let index = key.length - 1; index >= 0; index--) {
    if (key[index] === 0xff) continue
    const end = Buffer.from(key.subarray(0, index + 1))
    end[index] = end[index]! + 1
    return { key, range_end: end }
  }
  // A zero byte for both is etcd's word for everything.
  return { key: Buffer.of(0), range_end: Buffer.of(0) }
}

/** The first key after `key`. */
export function keyAfter(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.of(0)])
}

export function compareOf(condition: StoreCondition): ICompare[] {
  const key = keyBytes(condition.key)
  const exists: ICompare = { key, target: 'Version', result: 'Greater', version: 0 }
  if (condition.kind === 'absent') return [{ key, target: 'Version', result: 'Equal', version: 0 }]
  if (condition.kind === 'present') return [exists]
  const compare: ICompare = { key, target: 'Mod', result: 'Equal', mod_revision: condition.modRevision }
  // To etcd a key that is not there has revision 0; here it has none.
  return condition.modRevision > 0 ? [compare] : [compare, exists]
}

export function operationOf(operation: StoreOperation): IRequestOp {
  const key = keyBytes(operation.key)
  if (operation.kind === 'delete') return { request_delete_range: { key } }
  const { value, leaseId } = operation
  return {
    request_put: { key, value: bufferOf(value), ...(leaseId === undefined ? {} : { lease: leaseId }) },
  }
}

export function storedValueOf(kv: IKeyValue): StoredValue {
  return {
    key: utf8Decode(kv.key),
    value: Uint8Array.from(kv.value),
    modRevision: revisionOf(kv.mod_revision),
    version: Number(kv.version),
  }
}

export function revisionOf(text: string): number {
  const revision = Number(text)
  assert(Number.isSafeInteger(revision), `etcd's revision ${text} is no safe integer`)
  return revision
}

export function isOwnKey(key: string): boolean {
  return key.startsWith(REQUESTS_PREFIX)
}

/**
 * The events of one watch, put together again by revision: etcd may cut a large answer anywhere, also within a revision
 * (`fragment`). Holds at most one revision.
 */
export class EtcdRevisions {
  #held: StoreEvent[] = []

  /** Answers the revisions that are whole now, in order. */
  take(response: IWatchResponse): StoreEvent[][] {
    const whole: StoreEvent[][] = []
    for (const event of response.events.map(eventOf)) {
      if (this.#held.length > 0 && this.#held[0]!.revision !== event.revision) {
        whole.push(this.#held)
        this.#held = []
      }
      this.#held.push(event)
    }
    if (!response.fragment && this.#held.length > 0) {
      whole.push(this.#held)
      this.#held = []
    }
    return whole
  }
}

function eventOf({ type, kv }: IEvent): StoreEvent {
  const kind = type === 'Put' ? 'put' : 'delete'
  return {
    kind,
    key: utf8Decode(kv.key),
    value: kind === 'put' ? Uint8Array.from(kv.value) : undefined,
    revision: revisionOf(kv.mod_revision),
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
