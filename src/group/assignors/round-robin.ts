/** round-robin: all partitions, by topic name and number, dealt out to the members in turn; one that does not subscribe is passed over. */
import { AssignmentBuilder, type Assignor } from './assignor.ts'

export const roundRobinAssignor: Assignor = {
  name: 'round-robin',
  assign: ({ members, topics }) => {
    const built = new AssignmentBuilder()
    let turn = 0
    for (const { topicId, partitionCount } of topics) {
      if (!members.some((member) => member.topics.has(topicId))) continue
      for (let partition = 0; partition < partitionCount; partition++) {
        while (!members[turn % members.length]!.topics.has(topicId)) turn++
        built.add(members[turn++ % members.length]!.memberId, topicId, partition)
      }
    }
    return built.build()
  },
}
