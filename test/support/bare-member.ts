/** A member of a consumer group that speaks the wire by hand. */
import * as protocol from '../../src/protocol/index.ts'
import type { BareClient } from './gateway-fixture.ts'

/** A member by hand: it owns what it was told to read, gives up at once what it is not, and says so. */
export class BareMember {
  readonly client: BareClient
  readonly groupId: string
  memberId = ''
  memberEpoch = 0
  owned: readonly protocol.TopicPartitions[] = []
  #isConfirmed = false
  readonly #subscription: Pick<protocol.GroupHeartbeatRequest, 'subscribedTopics' | 'subscribedPattern'>

  constructor(client: BareClient, groupId: string, topics: readonly string[] | { readonly pattern: string }) {
    this.client = client
    this.groupId = groupId
    this.#subscription =
      'pattern' in topics
        ? { subscribedTopics: [], subscribedPattern: topics.pattern }
        : { subscribedTopics: topics, subscribedPattern: '' }
  }

  get partitions(): string[] {
    return this.owned.flatMap(({ topic, partitions }) => partitions.map((partition) => `${topic}/${partition}`)).sort()
  }

  async heartbeat(memberEpoch = this.memberEpoch): Promise<protocol.GroupHeartbeatReply> {
    const isJoin = memberEpoch === 0
    const reply = await this.client.call(protocol.groupHeartbeat, {
      ...{ groupId: this.groupId, memberId: this.memberId, memberEpoch },
      ...{ instanceId: null, rackId: null, serverAssignor: null },
      ...{ rebalanceTimeoutMs: isJoin ? 60_000 : -1, sessionTimeoutMs: isJoin ? 30_000 : -1 },
      ...(isJoin ? this.#subscription : { subscribedTopics: null, subscribedPattern: null }),
      ownedPartitions: isJoin ? [] : this.#isConfirmed ? null : this.owned,
    })
    this.memberId = reply.memberId
    this.memberEpoch = reply.memberEpoch
    // Unchanged: the coordinator has heard what is owned.
    this.#isConfirmed = !isJoin && reply.assignment === null
    if (reply.assignment !== null) this.owned = reply.assignment
    return reply
  }

  async commit(topic: string, partition: number, offset: number): Promise<number> {
    const reply = await this.client.call(protocol.offsetCommit, {
      ...{ groupId: this.groupId, memberId: this.memberId, memberEpoch: this.memberEpoch, instanceId: null },
      topics: [{ topicId: '', topic, partitions: [{ partition, offset, leaderEpoch: -1, metadata: 'm' }] }],
    })
    return reply.topics[0]!.partitions[0]!.errorNumber
  }
}
