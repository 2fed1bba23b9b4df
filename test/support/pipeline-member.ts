/**
 * A process that reads one topic and writes its results to another, exactly once: a member of a group whose offsets are committed with
 * the results. For tests that kill it. node pipeline-member.js '{"url": …}' (PipelineMemberOptions); ends in order at SIGTERM.
 *
 *   manual   the transaction is the caller's: chunks of batches, with all that it does written to a journal (src/tools/history.ts)
 *            before it is done and after it was answered; what kill -9 leaves of it is what happened
 *   run      group.run() makes the transactions
 *
 * Now and then a transaction writes a record that nobody may ever see, waits until it is stored, and fails on purpose; what it
 * had read is worked again, by the same producer.
 */
import { openSync, writeSync } from 'node:fs'
import { SeededPrng } from '../../src/base/prng.ts'
import {
  type Client,
  type CommittingGroup,
  type ConsumedRecord,
  connect,
  isMillraceError,
  type TransactionalProducer,
} from '../../src/client/index.ts'
import { FAULT_MARK, type PipelineMemberOptions, POISON } from './pipeline-options.ts'

const RECORDS_MAX = 20
/** Of transactions made by hand, and of records. */
const FAIL_ONE_IN = 15
const FAIL_ONE_RECORD_IN = 200
/** Of a transaction that run() makes: more, and hardly one would be without a failure. */
const RUN_RECORDS_MAX = 50
const PAUSE_MS = 100
const decoder = new TextDecoder()

class Unlucky extends Error {}

/** It was told to end: whatever a life ends of from then on, there is no next one. */
let isTold = false
const listeners = new Set<() => void>()
process.on('SIGTERM', () => {
  isTold = true
  for (const listener of listeners) listener()
})

/** Runs `listener` when the process is told to end, or was; the answer stops that. */
function whenTold(listener: () => void): () => void {
  listeners.add(listener)
  if (isTold) listener()
  return () => void listeners.delete(listener)
}

/** Lines of a history, with the machine's monotonic time: those of all processes are put in order by it. */
class Journal {
  readonly #file: number
  readonly #process: number

  constructor(path: string, process: number) {
    this.#file = openSync(path, 'a')
    this.#process = process
  }

  note(type: 'invoke' | 'ok' | 'info', f: string, fields: Readonly<Record<string, unknown>>): void {
    const atNs = String(process.hrtime.bigint())
    writeSync(this.#file, `${JSON.stringify({ atNs, process: this.#process, type, f, ...fields })}\n`)
  }
}

/** One life of a member that makes its own transactions: until something fails. */
class ManualLife {
  readonly #mq: Client
  readonly #options: PipelineMemberOptions
  readonly #journal: Journal
  readonly #prng: SeededPrng
  readonly #number: number
  #transactions = 0

  constructor(mq: Client, options: PipelineMemberOptions, number: number, prng: SeededPrng) {
    this.#mq = mq
    this.#options = options
    this.#number = number
    this.#journal = new Journal(options.journal, number)
    this.#prng = prng
  }

  /** True when it was told to end. */
  async run(): Promise<boolean> {
    const { groupId, name, input, output, sessionTimeoutMs, transactionTimeoutMs } = this.#options
    const producer = this.#mq.producer(output, { transactionalId: name, transactionTimeoutMs })
    const group = this.#mq.group(groupId, input, { from: 'start', commit: 'manual', sessionTimeoutMs })
    const untold = whenTold(() => void group.close())
    try {
      for await (const batch of group.batches()) {
        const positions = [{ topic: input, partition: batch.partition, offset: batch.fromOffset }]
        this.#journal.note('ok', 'assign', { positions })
        const records = [...batch]
        for (let at = 0; at < records.length; at += RECORDS_MAX)
          await this.#workUntilDone(producer, group, records.slice(at, at + RECORDS_MAX))
      }
      return true
    } finally {
      untold()
      producer.abort()
      await group.close().catch(() => {})
    }
  }

  async #workUntilDone(
    producer: TransactionalProducer,
    group: CommittingGroup,
    records: readonly ConsumedRecord[],
  ): Promise<void> {
    for (;;) {
      try {
        await this.#work(producer, group, records)
        return
      } catch (error) {
        if (!(error instanceof Unlucky) || error.cause !== undefined) throw error
        const { topic, partition, offset } = records[0]!
        this.#journal.note('ok', 'assign', { positions: [{ topic, partition, offset }] })
      }
    }
  }

  async #work(
    producer: TransactionalProducer,
    group: CommittingGroup,
    records: readonly ConsumedRecord[],
  ): Promise<void> {
    const journal = this.#journal
    const { groupId, input, output } = this.#options
    const txn = `${this.#number}-${++this.#transactions}`
    const last = records.at(-1)!
    const { partition } = last
    const isUnlucky = this.#prng.below(FAIL_ONE_IN) === 0
    let isEnding = false
    try {
      await producer.transaction(async (transaction) => {
        const read = records.map(({ offset, value }) => ({
          topic: input,
          partition,
          offset,
          value: decoder.decode(value!),
        }))
        journal.note('ok', 'begin', { txn })
        journal.note('ok', 'poll', { txn, records: read })
        const results = read.map(({ value }) => ({ topic: output, partition, value: `${value}.${txn}`, from: value }))
        journal.note('invoke', 'send', { txn, records: results })
        const receipts = await Promise.all(results.map(({ value }) => transaction.send({ partition, value })))
        const stored = results.map((result, index) => ({ ...result, offset: receipts[index]!.offset }))
        journal.note('ok', 'send', { txn, records: stored })
        if (isUnlucky) {
          journal.note('invoke', 'abort', { txn })
          await transaction.send({ partition, value: POISON })
          throw new Unlucky('on purpose')
        }
        const positions = [{ topic: input, partition, offset: last.offset + 1 }]
        journal.note('invoke', 'commitOffsets', { txn, group: groupId, positions })
        transaction.commitOffsets(group, last)
        // Gathered: they hold if the transaction commits.
        journal.note('ok', 'commitOffsets', { txn, group: groupId })
        journal.note('invoke', 'commit', { txn })
        isEnding = true
      })
      journal.note('ok', 'commit', { txn })
    } catch (error) {
      if (error instanceof Unlucky && error.cause === undefined) journal.note('ok', 'abort', { txn })
      if (isEnding) journal.note('info', 'commit', { txn })
      throw error
    }
  }
}

async function runLife(mq: Client, options: PipelineMemberOptions, prng: SeededPrng): Promise<boolean> {
  const { groupId, name, input, output, sessionTimeoutMs, transactionTimeoutMs } = options
  const group = mq.group(groupId, input, {
    ...{ from: 'start', semantics: 'exactly-once', sessionTimeoutMs },
    ...{ transactionalId: name, transaction: { timeoutMs: transactionTimeoutMs, recordsMax: RUN_RECORDS_MAX } },
  })
  const untold = whenTold(() => void group.close())
  try {
    await group.run(
      async ({ partition, value }, { transaction }) => {
        transaction.send(output, { partition, value: decoder.decode(value!) }).catch(() => {})
        if (prng.below(FAIL_ONE_RECORD_IN) > 0) return
        await transaction.send(output, { partition, value: POISON })
        throw new Unlucky('on purpose')
      },
      { retry: { attempts: 1_000_000, backoff: 5, backoffMsMax: 50 } },
    )
    return true
  } finally {
    untold()
    await group.close().catch(() => {})
  }
}

async function main(options: PipelineMemberOptions): Promise<void> {
  const prng = new SeededPrng(options.seed)
  const mq = await connect(options.url, { backoffMsMin: 10, backoffMsMax: 200, connectWaitMs: 60_000 })
  for (let life = 0; !isTold; life++) {
    try {
      const isOver =
        options.mode === 'run'
          ? await runLife(mq, options, prng)
          : await new ManualLife(mq, options, options.process + life, prng).run()
      if (isOver) break
    } catch (error) {
      // What a process does that fails: it is begun anew. What it had open is aborted by its next life, or by its timeout.
      if (!(error instanceof Unlucky)) console.error(`${options.name}, life ${life}: ${String(error)}`)
      // run() outlives all but another producer of its transactional id, or a transaction that was open for too long.
      const isFenced = isMillraceError(error) && error.code === 'PRODUCER_FENCED'
      if (options.mode === 'run' && !isFenced) console.error(`${FAULT_MARK}${options.name}: ${String(error)}`)
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }
  await mq.close()
}

await main(JSON.parse(process.argv[2] ?? '') as PipelineMemberOptions)
