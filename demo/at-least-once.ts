/**
 * At least once: what has been handled is committed, so nothing is lost, and what fails half way is done again, with what it had done
 * already. Run a broker first (`npm start`), then: node dist/demo/at-least-once.js
 */
import { connect } from '../src/client/index.ts'
import { nothingLeft, prepare, report } from './labels.ts'

const mq = await connect(process.env.MILLRACE_SERVER ?? 'ws://127.0.0.1:7171')
const { orders, labels, groupId } = await prepare(mq)
const printer = mq.producer(labels)

const group = mq.group(groupId, orders, { semantics: 'at-least-once', from: 'start', autoCommitIntervalMs: 100 })
void nothingLeft(mq, groupId).then(() => group.close())
await group.run(
  async ({ value }, { attempt }) => {
    await printer.send({ value })
    if (value?.id === 500 && attempt === 1) throw new Error('the printer jams')
  },
  { retry: { attempts: 3 } },
)
await report(mq, labels) // 1 labels twice, 0 missing
await mq.close()
