/**
 * credit (1000): server to client, one-way: how many bytes this connection may have sent in all since its hello.
 *
 * Versions  1
 * Ordering  the value only grows; a smaller one than known is ignored
 */
import { OFFSET_MAX } from '../model/limits.ts'
import { Api } from './api.ts'
import { Fields } from './fields.ts'
import { pack } from './msgpack.ts'

export interface CreditMessage {
  readonly grantedBytes: number
}

export const credit = {
  api: Api.CREDIT,
  name: 'credit',
  encode: (message: CreditMessage): Uint8Array => pack([message.grantedBytes]),
  decode: (header: Uint8Array): CreditMessage => ({
    grantedBytes: Fields.ofHeader(header, 'credit').integer('grantedBytes', 0, OFFSET_MAX),
  }),
} as const
