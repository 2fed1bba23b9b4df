import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as aborted from '../../../src/log/aborted-index.ts'
import * as checked from '../../../src/log/checked-file.ts'
import * as cleaner from '../../../src/log/cleaner-checkpoint.ts'
import * as epochs from '../../../src/log/leader-epoch-cache.ts'
import * as offsets from '../../../src/log/offset-index.ts'
import * as producers from '../../../src/log/producer-snapshot-file.ts'
import * as times from '../../../src/log/time-index.ts'

// Tests run from dist/; the document stays in src/.
const text = readFileSync(new URL('../../../../src/log/format.md', import.meta.url), 'utf8')

/** Section of format.md -> whose constants it gives, and the size they add up to. */
const SECTIONS: readonly { title: string; constants: object; bytes: number }[] = [
  { title: '2. Checked files', constants: checked, bytes: checked.CHECKED_HEADER_BYTES },
  { title: '3. Offset index, meta', constants: offsets, bytes: offsets.OFFSET_INDEX_META_BYTES },
  { title: '4. Offset index, entry', constants: offsets, bytes: offsets.OFFSET_ENTRY_BYTES },
  { title: '5. Time index, meta', constants: times, bytes: times.TIME_INDEX_META_BYTES },
  { title: '6. Time index, entry', constants: times, bytes: times.TIME_ENTRY_BYTES },
  { title: '6a. Aborted index, meta', constants: aborted, bytes: aborted.ABORTED_INDEX_META_BYTES },
  { title: '6b. Aborted index, entry', constants: aborted, bytes: aborted.ABORTED_ENTRY_BYTES },
  { title: '7. Producer snapshot, meta', constants: producers, bytes: producers.SNAPSHOT_META_BYTES },
  { title: '8. Producer snapshot, entry', constants: producers, bytes: producers.SNAPSHOT_ENTRY_BYTES },
  { title: '9. Producer snapshot, batch of an entry', constants: producers, bytes: producers.SNAPSHOT_BATCH_BYTES },
  { title: '10. Leader epochs, entry', constants: epochs, bytes: epochs.LEADER_EPOCH_ENTRY_BYTES },
  { title: '10a. Cleaner checkpoint, meta', constants: cleaner, bytes: cleaner.CLEANER_CHECKPOINT_META_BYTES },
]

function rowsOf(title: string): string[][] {
  const section = text.split(/^## /m).find((part) => part.split('\n')[0] === title)
  assert.ok(section !== undefined, `format.md has no section '${title}'`)
  const rows = section.split('\n').filter((line) => line.startsWith('|'))
  return rows.slice(2).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

for (const { title, constants, bytes } of SECTIONS) {
  test(`format.md ${title}: the table is the constants`, () => {
    let expectedAt = 0
    for (const [at, size, field, constant] of rowsOf(title)) {
      assert.equal(Number(at), expectedAt, `${field}: its place is not the sum of the sizes above`)
      assert.equal((constants as Record<string, unknown>)[constant!], Number(at), `${field}: ${constant}`)
      expectedAt += Number(size)
    }
    assert.equal(expectedAt, bytes)
  })
}

test('every constant that names a place is in a table', () => {
  const named = new Set(SECTIONS.flatMap(({ title }) => rowsOf(title).map((row) => row[3])))
  for (const module of [checked, offsets, times, aborted, producers, epochs, cleaner]) {
    for (const name of Object.keys(module)) {
      if (name.endsWith('_AT') && name !== 'LEADER_EPOCHS_VERSION_AT') assert.ok(named.has(name), name)
    }
  }
})

test('magics and versions of the document are those of the code', () => {
  for (const kind of [
    offsets.OFFSET_INDEX_FILE,
    times.TIME_INDEX_FILE,
    aborted.ABORTED_INDEX_FILE,
    producers.PRODUCER_SNAPSHOT_FILE,
    cleaner.CLEANER_CHECKPOINT_FILE_KIND,
  ]) {
    assert.ok(text.includes(kind.magic), kind.magic)
    assert.equal(kind.version, kind === producers.PRODUCER_SNAPSHOT_FILE ? 2 : 1)
  }
  assert.ok(text.includes('`MRLE`, u32 version 1'))
  assert.equal(epochs.LEADER_EPOCHS_VERSION, 1)
})
