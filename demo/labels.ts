/** What at-most-once.ts, at-least-once.ts and exactly-once.ts share: 1,000 orders, a label printed for each, and the count of both. */
import { type Client, json, topic } from '../src/client/index.ts'

const ORDERS = 1_000

export interface Order {
  readonly id: number
}

/** Two topics of this run's own, the first one filled. */
export async function prepare(mq: Client) {
  const run = Date.now()
  const orders = topic(`orders-${run}`, { value: json<Order>() })
  const labels = topic(`labels-${run}`, { value: json<Order>() })
  for (const each of [orders, labels]) await mq.admin.topics.create(each, { partitions: 3 })
  await mq.producer(orders).sendMany(Array.from({ length: ORDERS }, (_, id) => ({ value: { id } })))
  return { orders, labels, groupId: `printers-${run}` }
}

/** Resolves when the group has nothing left to do. */
export async function nothingLeft(mq: Client, groupId: string): Promise<void> {
  for (;;) {
    const offsets = await mq.admin.groups.offsets(groupId)
    const handled = offsets.reduce((sum, { offset }) => sum + offset, 0)
    if (handled === ORDERS) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export async function report(mq: Client, labels: Awaited<ReturnType<typeof prepare>>['labels']): Promise<void> {
  const counts = new Map<number, number>()
  for await (const { value } of mq.consume(labels, { from: 'start', to: 'end' }))
    counts.set(value!.id, (counts.get(value!.id) ?? 0) + 1)
  const twice = [...counts.values()].filter((count) => count > 1).length
  console.log(`${ORDERS} orders: ${twice} labels twice, ${ORDERS - counts.size} missing`)
}
