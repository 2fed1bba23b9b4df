/** Lines are the same however the bytes are cut into chunks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { LineSplitter } from '../../../src/cli/line-splitter.ts'

function split(chunks: readonly Uint8Array[], lineBytesMax = 1_000): string[] {
  const splitter = new LineSplitter(lineBytesMax)
  const lines: string[] = []
  const keep = (line: Uint8Array): void => void lines.push(Buffer.from(line).toString('latin1'))
  for (const chunk of chunks) {
    splitter.push(chunk)
    for (let line = splitter.next(); line !== undefined; line = splitter.next()) keep(line)
  }
  const last = splitter.last()
  if (last !== undefined) keep(last)
  return lines
}

test('any cut gives the lines of the whole', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '\n'), maxLength: 60 })
  const cuts = fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 8 })
  fc.assert(
    fc.property(text, cuts, (whole, places) => {
      const bytes = new Uint8Array(Buffer.from(whole))
      const at = [
        0,
        ...places.map((place) => Math.min(place, bytes.length)).sort((left, right) => left - right),
        bytes.length,
      ]
      const chunks = at.slice(1).map((end, index) => bytes.subarray(at[index]!, end))
      const expected = whole.split('\n')
      if (expected.at(-1) === '') expected.pop()
      assert.deepEqual(split(chunks), expected)
    }),
  )
})

test('a line without an end is refused before it fills the memory', () => {
  assert.throws(() => split([new Uint8Array(600), new Uint8Array(600)]), RangeError)
})
