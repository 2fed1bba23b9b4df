/** Records as text and as JSON lines: escapes, fields, bytes that are no text. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { UsageError } from '../../../src/cli/errors.ts'
import { compileFormat, OutputBuffer, writeRecord } from '../../../src/cli/record-format.ts'
import { jsonOfBytes, jsonOfRecord, recordOfJson } from '../../../src/cli/record-json.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const record = {
  ...{ offset: 7, timestampMs: 1_700_000_000_000, payloadBytes: 0, next: () => false },
  key: bytes('k'),
  value: bytes('välue'),
  headers: [
    { key: 'a', value: bytes('1') },
    { key: 'b', value: null },
  ],
}

function formatted(format: string): string {
  const output = new OutputBuffer()
  writeRecord(output, compileFormat(format), { topic: 't', partition: 3 }, record)
  return Buffer.from(output.take() ?? []).toString()
}

test('every field, and the escapes of the interface', () => {
  assert.equal(formatted('%t %p %o %k %v %T'), 't 3 7 k välue 1700000000000')
  assert.equal(formatted('%h'), 'a:1,b:')
  assert.equal(formatted('%k\\t%v\\n'), 'k\tvälue\n')
  assert.equal(formatted('100%% \\\\ \\x'), '100% \\ \\x')
  for (const bad of ['%', '%z', 'a%']) assert.throws(() => compileFormat(bad), UsageError, bad)
})

test('a JSON line has the fields of the interface in their order', () => {
  const line = jsonOfRecord('t', 3, { ...record, value: new Uint8Array([0xff]) })
  assert.equal(
    line,
    '{"topic":"t","partition":3,"offset":7,"timestampMs":1700000000000,"key":"k","value":{"base64":"/w=="},' +
      '"headers":[{"key":"a","value":"1"},{"key":"b","value":null}]}',
  )
})

test('any bytes come back from JSON as they were', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (value) => {
      const line = JSON.stringify({ value: jsonOfBytes(value) })
      const back = recordOfJson(line).value
      assert.deepEqual(Buffer.from(back as Uint8Array | string), Buffer.from(value))
    }),
  )
})

test('a JSON line that is no record says which field and what is expected', () => {
  const cases: [string, RegExp][] = [
    ['[]', /expected a JSON object/],
    ['{"valu":1}', /unknown field "valu"; did you mean "value"\?/],
    ['{"qqqqqqqq":1}', /a record has topic, partition, offset/],
    ['{"key":1}', /"key": expected a text, null or/],
    ['{"partition":"0"}', /"partition": expected an integer/],
    ['{"headers":{}}', /"headers": expected an array/],
    ['{"headers":[{"value":"x"}]}', /every header has a text "key"/],
  ]
  for (const [line, text] of cases) assert.throws(() => recordOfJson(line), text, line)
})
