/**
 * Consumer groups. Point-to-point: the members of a group share a topic, each record goes to one of them. Publish/subscribe: every
 * group reads everything, at its own pace. Run a broker first (`npm start`), then: node dist/demo/groups.js
 */
import { connect, type Group } from '../src/client/index.ts'

const RECORDS = 3_000
const topic = `parcels-${Date.now()}`
const mq = await connect(process.env.MILLRACE_SERVER ?? 'ws://127.0.0.1:7171')
await mq.admin.topics.create(topic, { partitions: 6 })

const counts = new Map<string, number>()
const members: Group[] = []

/** A member of a group: in life it would be a process of its own. */
function join(groupId: string, name: string): Promise<void> {
  const group = mq.group(groupId, topic, { from: 'start' })
  members.push(group)
  group.on('assigned', ({ partitions }) => console.log(`${name} reads ${partitions.length} partitions more`))
  return group.run(() => {
    counts.set(name, (counts.get(name) ?? 0) + 1)
  })
}

const running = [join('delivery', 'driver 1'), join('delivery', 'driver 2'), join('statistics', 'the office')]
// Two members of three partitions each, and one of six.
while (members.map((member) => member.assignment().length).join() !== '3,3,6')
  await new Promise((resolve) => setTimeout(resolve, 20))

const producer = mq.producer(topic)
await producer.ready()
for (let index = 0; index < RECORDS; index++)
  while (!producer.enqueue({ key: `street ${index % 500}`, value: `parcel ${index}` })) await producer.ready()
await producer.drain()

const handled = (name: string): number => counts.get(name) ?? 0
while (handled('driver 1') + handled('driver 2') < RECORDS || handled('the office') < RECORDS)
  await new Promise((resolve) => setTimeout(resolve, 20))
for (const member of members) await member.close() // what is finished is committed
await Promise.all(running)

console.log(`the drivers delivered ${handled('driver 1') + handled('driver 2')} parcels, each by one of them`)
console.log(`the office counted ${handled('the office')}`)
const { offsets } = await mq.admin.groups.describe('delivery')
const ofTopic = offsets.filter((offset) => offset.topic === topic)
console.log(`left to deliver: ${ofTopic.reduce((sum, { lag }) => sum + (lag ?? 0), 0)}`)
await mq.close()
