import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as layout from '../../../src/record/batch-layout.ts'

// Tests run from dist/; the document stays in src/.
const text = readFileSync(new URL('../../../../src/record/format.md', import.meta.url), 'utf8')
const constants = layout as unknown as Record<string, number>

/** Cells of the table rows of section `number`, without the head. */
function rowsOf(number: number): string[][] {
  const section = text.split(/^## /m).find((part) => part.startsWith(`${number}. `))
  assert.ok(section !== undefined, `format.md has no section ${number}`)
  const rows = section.split('\n').filter((line) => line.startsWith('|'))
  return rows.slice(2).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

test('the header table is the constants of batch-layout.ts', () => {
  const rows = rowsOf(1)
  assert.equal(rows.length, 14)
  let expectedAt = 0
  for (const [at, size, field, constant] of rows) {
    assert.equal(Number(at), expectedAt, `${field}: its place is not the sum of the sizes above`)
    assert.equal(constants[constant!], Number(at), `${field}: ${constant}`)
    expectedAt += Number(size)
  }
  assert.equal(expectedAt, layout.BATCH_HEADER_BYTES)
})

test('every constant that names a place is in the table', () => {
  const named = new Set(rowsOf(1).map((row) => row[3]))
  for (const name of Object.keys(constants)) if (name.endsWith('_AT')) assert.ok(named.has(name), name)
})

test('the attributes table is the bits of batch-layout.ts', () => {
  let known = 0
  for (const [bits, constant] of rowsOf(2)) {
    const [first, last = first] = bits!.split('-').map(Number)
    let mask = 0
    for (let bit = first!; bit <= last!; bit++) mask |= 1 << bit
    assert.equal(constants[constant!], mask, constant)
    known |= mask
  }
  assert.equal(known, layout.KNOWN_ATTRIBUTES)
})
