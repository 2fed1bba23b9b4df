/**
 * group-changed (1002): server to client, one-way: the group has something new for this member, which should send a heartbeat at once.
 *
 * Versions  1
 * Rule      a hint: it may be lost or come late, and says nothing of what is new; a heartbeat does, and comes at its interval anyway
 */
import { Api } from './api.ts'
import { Fields } from './fields.ts'
import { GROUP_TEXT_LENGTH_MAX } from './group-fields.ts'
import { pack } from './msgpack.ts'

export interface GroupChangedMessage {
  readonly memberId: string
}

export const groupChanged = {
  api: Api.GROUP_CHANGED,
  name: 'group-changed',
  encode: (message: GroupChangedMessage): Uint8Array => pack([message.memberId]),
  decode: (header: Uint8Array): GroupChangedMessage => ({
    memberId: Fields.ofHeader(header, 'group-changed').text('memberId', GROUP_TEXT_LENGTH_MAX),
  }),
} as const
