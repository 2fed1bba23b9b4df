/** A shard whose partition 0 coordinates groups, asked by the requests of the native protocol. */
import assert from 'node:assert/strict'
import type { TopicId } from '../../src/model/ids.ts'
import type { TopicConfig } from '../../src/model/topic-config.ts'
import {
  type Codec,
  groupHeartbeat,
  type ListGroupsReply,
  listGroups,
  offsetCommit,
  unwrapReply,
} from '../../src/protocol/index.ts'
import { ControlOperation } from '../../src/ring/control-messages.ts'
import { batchesOf, type ControlAnswer, ShardFixture, type ShardFixtureOptions } from './shard-fixture.ts'

export const TOPIC_ROW = { topicId: 'f'.repeat(32) as TopicId, name: 't', partitions: 4 }

export class GroupShard extends ShardFixture {
  constructor(options: ShardFixtureOptions = {}, config: Partial<TopicConfig> = {}) {
    super(options)
    this.open(2, { retentionMs: -1, ...config })
    this.control(ControlOperation.GROUP_TOPICS, { upserted: [TOPIC_ROW], removed: [] })
  }

  ask<Request>(codec: Codec<Request, unknown>, request: Request): number {
    return this.sendGroupRequest(codec.api, codec.encodeRequest(request))
  }

  join(groupId: string, subscribedTopics: readonly string[] = ['t']): number {
    return this.ask(groupHeartbeat, {
      ...{ groupId, memberId: '', memberEpoch: 0, instanceId: null, rackId: null, rebalanceTimeoutMs: 60_000 },
      ...{ sessionTimeoutMs: 10_000, subscribedTopics, subscribedPattern: '', serverAssignor: null },
      ownedPartitions: [],
    })
  }

  commit(groupId: string, offset: number): number {
    const partitions = [{ partition: 0, offset, leaderEpoch: -1, metadata: '' }]
    return this.ask(offsetCommit, {
      ...{ groupId, memberId: '', memberEpoch: -1, instanceId: null },
      topics: [{ topicId: '', topic: 't', partitions }],
    })
  }

  groups(): ListGroupsReply['groups'] {
    return this.replyOf(listGroups, this.ask(listGroups, { states: [], kinds: [] })).groups
  }

  replyOf<Reply>(codec: Pick<Codec<unknown, Reply>, 'decodeReply'>, requestId: number): Reply {
    const answer = this.answer(requestId) as ControlAnswer
    assert.equal(answer.error, 'NONE')
    return unwrapReply(codec.decodeReply(answer.body as Uint8Array))
  }

  errorOf(requestId: number): string {
    return (this.answer(requestId) as ControlAnswer).error
  }

  get batches(): [number, number][] {
    return batchesOf(this.fetch([{ offset: 0 }]).partitions[0]?.bytes ?? new Uint8Array(0))
  }
}
