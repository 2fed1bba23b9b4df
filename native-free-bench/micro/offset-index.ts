/**
 * The sparse offset index of a segment: finding the entry at or before an offset, in a young and in a full index, and noting a batch.
 * A whole look-up in a log: micro/partition-log.
 *
 *   node dist/native-free-bench/micro/offset-index.js [--smoke] [--runs 5] [--json]
 */
import { SeededPrng } from '../../src/base/prng.ts'
import { INDEX_INTERVAL_BYTES, OFFSET_INDEX_ENTRIES_MAX, OffsetIndex } from '../../src/log/offset-index.ts'
import { runMicro } from '../harness/micro.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const OPERATIONS = 4096
const RECORDS_PER_BATCH = 16

/** With as many entries as asked for, each one batch further. */
function indexOf(entries: number): OffsetIndex {
  const index = new OffsetIndex()
  for (let batch = 1; index.count < entries; batch++)
    index.note(batch * RECORDS_PER_BATCH, batch * INDEX_INTERVAL_BYTES)
  return index
}

const lookUps = [100, OFFSET_INDEX_ENTRIES_MAX].map((entries) => {
  const index = indexOf(entries)
  const prng = new SeededPrng(1)
  const wanted = Uint32Array.from(
    { length: OPERATIONS },
    () => RECORDS_PER_BATCH + prng.below(entries * RECORDS_PER_BATCH - RECORDS_PER_BATCH),
  )
  const run = (): void => {
    for (let at = 0; at < OPERATIONS; at++) {
      const entry = index.floor(wanted[at]!)
      if (index.relativeOffsetAt(entry) > wanted[at]!) throw new Error('an entry past the offset was found')
    }
  }
  return { name: `look up an offset, ${entries} entries`, operations: OPERATIONS, bytes: 0, run }
})
const noting = {
  ...{ name: 'note a batch', operations: OPERATIONS, bytes: 0 },
  run: (): void => {
    const index = new OffsetIndex()
    for (let at = 1; at <= OPERATIONS; at++) index.note(at * RECORDS_PER_BATCH, at * INDEX_INTERVAL_BYTES)
    if (index.count !== OPERATIONS) throw new Error(`${index.count} entries`)
  },
}
await runMicro(new Report('micro/offset-index', options), options, [...lookUps, noting])
