/**
 * A process that is a member of a group: prints each record when it has handled it, and commits only after that. For tests that
 * kill members. node group-member.js URL GROUP TOPIC; ends in order at SIGTERM.
 */
import { connect } from '../../src/client/index.ts'

const [url, groupId, topic] = process.argv.slice(2) as [string, string, string]
const mq = await connect(url, { backoffMsMin: 10, backoffMsMax: 200 })
const group = mq.group(groupId, topic, { from: 'start', sessionTimeoutMs: 2_000, autoCommitIntervalMs: 50 })
process.once('SIGTERM', () => void group.close())
const decoder = new TextDecoder()
let handled = 0
await group.run(
  async ({ partition, offset, value }) => {
    // Slow enough for somebody to be killed in the middle of it.
    if (++handled % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2))
    const line = `${partition} ${offset} ${decoder.decode(value!)}\n`
    await new Promise((resolve) => process.stdout.write(line, resolve))
  },
  { concurrency: 4, order: 'key' },
)
await mq.close()
