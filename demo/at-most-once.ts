/**
 * At most once: what is about to be handled is committed first, so nothing is ever done twice, and what a crash interrupts is not done at
 * all. Run a broker first (`npm start`), then: node dist/demo/at-most-once.js
 */
import { connect } from '../src/client/index.ts'
import { nothingLeft, prepare, report } from './labels.ts'

const mq = await connect(process.env.MILLRACE_SERVER ?? 'ws://127.0.0.1:7171')
const { orders, labels, groupId } = await prepare(mq)
const printer = mq.producer(labels, { semantics: 'at-most-once' })

let jams = 1
const print = (): Promise<void> => {
  const group = mq.group(groupId, orders, { semantics: 'at-most-once', from: 'start' })
  void nothingLeft(mq, groupId).then(() => group.close())
  return group.run(async ({ value }) => {
    if (value?.id === 500 && jams-- > 0) throw new Error('the printer jams')
    await printer.send({ value })
  })
}
await print().catch((error: Error) => console.log(`${error.message}; another worker goes on`))
await print()
await report(mq, labels) // 0 labels twice, a few missing
await mq.close()
