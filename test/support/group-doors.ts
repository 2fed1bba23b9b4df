/** A whole broker whose reply rings are the smallest, and its doors: for suites of answers about groups that outgrow a frame. */
import type { Client } from '../../src/client/index.ts'
import { createBroker } from '../../src/index.ts'
import type * as protocol from '../../src/protocol/index.ts'
import { BareClient } from './gateway-fixture.ts'

export interface Doors {
  readonly mq: Client
  readonly url: string
  readonly client: BareClient
  get(path: string): Promise<unknown>
}

export async function withGroupDoors(body: (doors: Doors) => Promise<void>): Promise<void> {
  const broker = await createBroker({ storage: 'memory', shards: 2, config: { 'rings.replyBytes': '512KiB' } })
  try {
    const url = String(await broker.listen())
    const client = await BareClient.hello(url)
    client.keepsFrames = false
    const http = url.replace('ws:', 'http:').replace(/\/$/, '')
    const get = async (path: string): Promise<unknown> => (await fetch(http + path)).json()
    await body({ mq: broker.client(), url, client, get })
  } finally {
    await broker.close()
  }
}

/** Of offset 0, by nobody in particular. */
export function commitOf(groupId: string, topic: string, partitions: readonly number[]): protocol.OffsetCommitRequest {
  const rows = partitions.map((partition) => ({ partition, offset: 0, leaderEpoch: -1, metadata: 'm'.repeat(20) }))
  return {
    ...{ groupId, memberId: '', memberEpoch: -1, instanceId: null },
    topics: [{ topicId: '', topic, partitions: rows }],
  }
}
