/**
 * range: per topic, its partitions in stretches over its subscribers, the first ones one longer. Topics with the same
 * number of partitions and the same subscribers are cut alike, so that their partitions of one number meet in one member.
 */
import { AssignmentBuilder, type Assignor } from './assignor.ts'

export const rangeAssignor: Assignor = {
  name: 'range',
  assign: ({ members, topics }) => {
    const built = new AssignmentBuilder()
    for (const { topicId, partitionCount } of topics) {
      const subscribers = members.filter((member) => member.topics.has(topicId))
      const share = Math.floor(partitionCount / subscribers.length)
      const longer = partitionCount % subscribers.length
      let partition = 0
      subscribers.forEach(({ memberId }, index) => {
        const end = partition + share + (index < longer ? 1 : 0)
        for (; partition < end; partition++) built.add(memberId, topicId, partition)
      })
    }
    return built.build()
  },
}
