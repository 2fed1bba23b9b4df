/**
 * Exactly once: what a handler sends and how far the group has come are one transaction: both count, or neither does. What fails half way
 * is done again, and what it had done is never read. Run a broker first (`npm start`), then: node dist/demo/exactly-once.js
 */
import { connect } from '../src/client/index.ts'
import { nothingLeft, prepare, report } from './labels.ts'

const mq = await connect(process.env.MILLRACE_SERVER ?? 'ws://127.0.0.1:7171')
const { orders, labels, groupId } = await prepare(mq)

const group = mq.group(groupId, orders, { semantics: 'exactly-once', from: 'start' })
void nothingLeft(mq, groupId).then(() => group.close())
await group.run(
  async ({ value }, { transaction, attempt }) => {
    await transaction.send(labels, { value })
    if (value?.id === 500 && attempt === 1) throw new Error('the printer jams')
  },
  { retry: { attempts: 3 } },
)
await report(mq, labels) // 0 labels twice, 0 missing
await mq.close()
