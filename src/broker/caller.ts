/** Caller: who asks a coordinator; a description of its group tells it. */
import { utf8Encode } from '../base/bytes.ts'
import type { GroupFields } from '../ring/group-codec.ts'

/** As UTF-8: it goes to a shard with every request. */
export type Caller = Pick<GroupFields, 'clientId' | 'clientHost' | 'connectionId'>

export function callerOf(clientName: string, remoteAddress: string, connectionId: number): Caller {
  return { clientId: utf8Encode(clientName), clientHost: utf8Encode(remoteAddress), connectionId }
}
