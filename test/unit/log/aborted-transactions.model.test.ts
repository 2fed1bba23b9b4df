/** A log of transactions against the list of its batches: what is aborted, and what is open, through everything that may happen to a log. */
import { test } from 'node:test'
import fc from 'fast-check'
import { segmentFileName } from '../../../src/log/segment.ts'
import { TransactionFixture } from '../../support/transaction-fixture.ts'

const BUDGET_MS = Number(process.env.MILLRACE_BUDGET_MS ?? 6000)
const SEED_OPTION = process.env.MILLRACE_SEED === undefined ? {} : { seed: Number(process.env.MILLRACE_SEED) }

type Command =
  | { readonly kind: 'data'; readonly producerId: number; readonly records: number; readonly isPlain: boolean }
  | { readonly kind: 'marker'; readonly producerId: number; readonly isAbort: boolean; readonly isClassic: boolean }
  | { readonly kind: 'drop'; readonly producerId: number; readonly isAbort: boolean }
  | { readonly kind: 'trim' | 'truncate' | 'lose-index' | 'visible'; readonly share: number }
  | { readonly kind: 'roll' | 'checkpoint' | 'idle' | 'restart' | 'stop' }

const producerId = fc.integer({ min: 1, max: 3 })
const share = fc.double({ min: 0, max: 1, noNaN: true })
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      ...{ kind: fc.constant('data' as const), producerId, records: fc.integer({ min: 1, max: 3 }) },
      isPlain: fc.constantFrom(false, false, false, true),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      ...{ kind: fc.constant('marker' as const), producerId, isAbort: fc.boolean() },
      isClassic: fc.constantFrom(false, false, true),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('drop' as const), producerId, isAbort: fc.boolean() }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('trim' as const, 'truncate' as const, 'lose-index' as const, 'visible' as const),
      share,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(...(['roll', 'checkpoint', 'idle', 'restart', 'stop'] as const)),
    }),
  },
)

class Model {
  readonly fixture = new TransactionFixture()
  highWatermark = 0

  run(step: Command): void {
    const { fixture } = this
    const { log } = fixture
    if (step.kind === 'data') this.#append(step)
    else if (step.kind === 'marker') fixture.end(step.producerId, step.isAbort ? 'ABORT' : 'COMMIT', step.isClassic)
    else if (step.kind === 'drop') fixture.dropStaged(step.producerId, step.isAbort ? 'ABORT' : 'COMMIT')
    else if (step.kind === 'roll') log.roll()
    else if (step.kind === 'checkpoint') fixture.checkpoint()
    else if (step.kind === 'idle') {
      fixture.checkpoint()
      log.releaseIdle()
    } else if (step.kind === 'visible') this.highWatermark = this.#between(this.highWatermark, step.share)
    else if (step.kind === 'trim') this.#trim(step.share)
    else if (step.kind === 'truncate') this.#truncate(step.share)
    else if (step.kind === 'lose-index') this.#loseIndex(step.share)
    else {
      if (step.kind === 'restart') fixture.restart()
      else fixture.stopAndStart()
      this.highWatermark = fixture.log.logEndOffset
    }
  }

  #between(from: number, part: number): number {
    return from + Math.floor((this.fixture.log.logEndOffset - from) * part)
  }

  #append(step: Command & { kind: 'data' }): void {
    const records = Array.from({ length: step.records }, (_, index) => ({ key: `k${index}`, value: 'v' }))
    const isOpen = this.fixture.log.transactions.has(step.producerId)
    this.fixture.append(step.producerId, records, isOpen || !step.isPlain)
  }

  /** Low ones mostly: transactions whose beginning is gone are to be many, those that are gone as a whole few. */
  #trim(part: number): void {
    const start = this.#between(this.fixture.log.logStartOffset, part * part * 0.5)
    this.fixture.log.advanceLogStart(start)
    this.highWatermark = Math.max(this.highWatermark, start)
  }

  #truncate(part: number): void {
    const from = Math.max(this.highWatermark, this.fixture.log.logStartOffset)
    const { batches } = this.fixture
    const at = this.#between(from, part)
    // Where a batch begins, so that what is open is as the list says.
    const place = batches.find(({ baseOffset }) => baseOffset >= at)?.baseOffset ?? this.fixture.log.logEndOffset
    this.fixture.truncateTo(Math.max(place, from))
  }

  /** A file goes: the log may not have it in memory, and must notice. */
  #loseIndex(part: number): void {
    const { fixture } = this
    fixture.checkpoint()
    const segments = fixture.log.closedSegments()
    const segment = segments[Math.floor(segments.length * part)]
    if (segment === undefined) return
    const path = `${fixture.log.folder}/${segmentFileName(segment.baseOffset, '.txnindex')}`
    if (fixture.files.stat(path).kind !== 'file') return
    fixture.context.aborted.delete(segment.key)
    fixture.files.remove(path)
  }

  check(): void {
    const { fixture } = this
    const { logStartOffset, logEndOffset } = fixture.log
    fixture.checkOpen(this.highWatermark)
    const stable = Math.min(this.highWatermark, fixture.log.transactions.firstUnstableOffset(this.highWatermark))
    const end = Math.max(stable, logStartOffset)
    fixture.checkAborted(logStartOffset, end)
    const middle = logStartOffset + Math.floor((end - logStartOffset) / 2)
    fixture.checkAborted(logStartOffset, middle)
    fixture.checkAborted(middle, end)
    fixture.checkAborted(logStartOffset, end, 1)
    fixture.checkAborted(logStartOffset, logEndOffset)
  }
}

test('aborted and open transactions are those of the batches, whatever happens to the log (AT2, OT2)', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const model = new Model()
      for (const step of commands) {
        model.run(step)
        model.check()
      }
    }),
    { numRuns: 1_000_000, interruptAfterTimeLimit: BUDGET_MS, ...SEED_OPTION },
  )
})
