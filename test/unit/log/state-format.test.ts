/** format.md §12 to §22: the tables of the files of state/ are the constants of their modules. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as catalogue from '../../../src/log/catalogue-file.ts'
import * as checkpoint from '../../../src/log/checkpoint-file.ts'
import * as journal from '../../../src/log/journal-format.ts'
import * as synced from '../../../src/log/synced-ends-file.ts'

// Tests run from dist/; the document stays in src/.
const text = readFileSync(new URL('../../../../src/log/format.md', import.meta.url), 'utf8')

const SECTIONS: readonly { title: string; constants: object; bytes: number }[] = [
  { title: '12. Commit journal, file header', constants: journal, bytes: journal.JOURNAL_FILE_CRC_AT + 4 },
  { title: '13. Commit journal, entry header', constants: journal, bytes: journal.JOURNAL_ENTRY_HEADER_BYTES },
  { title: '14. Synced ends, header', constants: synced, bytes: synced.SYNCED_ENDS_HEADER_CRC_AT + 4 },
  { title: '15. Synced ends, slot', constants: synced, bytes: synced.SYNCED_ENDS_SLOT_BYTES },
  { title: '16. Checkpoint, header', constants: checkpoint, bytes: checkpoint.CHECKPOINT_HEADER_BYTES },
  { title: '17. Checkpoint, line', constants: checkpoint, bytes: checkpoint.CHECKPOINT_LINE_BYTES },
  { title: '18. Catalogue, header', constants: catalogue, bytes: catalogue.CATALOGUE_HEADER_BYTES },
  { title: '19. Catalogue, partition', constants: catalogue, bytes: catalogue.CATALOGUE_PARTITION_BYTES },
  { title: '20. Catalogue, segment', constants: catalogue, bytes: catalogue.CATALOGUE_SEGMENT_BYTES },
  { title: '21. Catalogue, leader epoch', constants: catalogue, bytes: catalogue.CATALOGUE_EPOCH_BYTES },
  { title: '22. Catalogue, open transaction', constants: catalogue, bytes: catalogue.CATALOGUE_OPEN_BYTES },
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
  for (const module of [journal, synced, checkpoint, catalogue])
    for (const name of Object.keys(module)) if (name.endsWith('_AT')) assert.ok(named.has(name), name)
})
