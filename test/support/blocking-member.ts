/**
 * A process that is a member of a group and tells what happens to it, a line of JSON each, also while its event loop is blocked: for
 * tests of handlers that block. node blocking-member.js OPTIONS, as JSON; ends in order at SIGTERM.
 */
import { existsSync, writeSync } from 'node:fs'
import { connect } from '../../src/client/index.ts'
import { isMillraceError } from '../../src/model/errors.ts'

export interface BlockingMemberOptions {
  readonly url: string
  readonly groupId: string
  readonly topic: string
  readonly sessionTimeoutMs: number
  readonly pollIntervalMsMax: number
  /** Its handler blocks the event loop until this file is there, and commits the record then. '' = it does neither. */
  readonly blocksUntilFile: string
}

export type MemberEvent =
  | { readonly kind: 'assignment'; readonly partitions: readonly number[] }
  | { readonly kind: 'record'; readonly partition: number }
  | { readonly kind: 'unblocked'; readonly blockedMs: number }
  | { readonly kind: 'committed' }
  | { readonly kind: 'refused'; readonly code: string }

const LOOK_MS = 50

const options = JSON.parse(process.argv[2]!) as BlockingMemberOptions
const { sessionTimeoutMs, pollIntervalMsMax } = options
const mq = await connect(options.url)
const group = mq.group(options.groupId, options.topic, {
  ...{ from: 'start', commit: 'manual', sessionTimeoutMs, pollIntervalMsMax },
})

/** At once: a stream would wait for the event loop. */
function tell(event: MemberEvent): void {
  writeSync(1, `${JSON.stringify(event)}\n`)
}

function blockUntil(file: string): void {
  const startedMs = performance.now()
  const word = new Int32Array(new SharedArrayBuffer(4))
  while (!existsSync(file)) Atomics.wait(word, 0, 0, LOOK_MS)
  tell({ kind: 'unblocked', blockedMs: performance.now() - startedMs })
}

for (const event of ['assigned', 'revoked', 'lost'] as const)
  group.on(event, () => tell({ kind: 'assignment', partitions: group.assignment().map(({ partition }) => partition) }))
process.once('SIGTERM', () => void group.close())
for await (const record of group) {
  tell({ kind: 'record', partition: record.partition })
  if (options.blocksUntilFile === '') continue
  blockUntil(options.blocksUntilFile)
  try {
    await group.commit(record)
    tell({ kind: 'committed' })
  } catch (error) {
    tell({ kind: 'refused', code: isMillraceError(error) ? error.code : String(error) })
  }
}
await mq.close()
