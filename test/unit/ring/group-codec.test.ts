/** Requests of groups through a real ring: what goes in comes out, and steady ones come out as the same object. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Encode } from '../../../src/base/bytes.ts'
import { type GroupFields, GroupRequestReader, writeGroupRequest } from '../../../src/ring/group-codec.ts'
import { createRing } from '../../../src/ring/ring-layout.ts'
import { RingReader } from '../../../src/ring/ring-reader.ts'
import { RingWriter } from '../../../src/ring/ring-writer.ts'

const FIELDS: GroupFields = {
  ...{ partitionRef: 3, api: 68, header: new Uint8Array([0x91, 0xc0]), clientId: utf8Encode('ä') },
  ...{ clientHost: utf8Encode('::1'), connectionId: 9, isSteady: true },
}

function open() {
  const memory = createRing({ capacityBytes: 4096 })
  const writer = new RingWriter(memory)
  const ring = new RingReader(memory)
  const reader = new GroupRequestReader(ring)
  return (fields: GroupFields) => {
    assert.ok(writeGroupRequest(writer, 1, fields))
    writer.publish()
    assert.ok(ring.next())
    const body = reader.read()
    ring.release()
    return body
  }
}

test('a request goes through with its texts, and outlives the ring', () => {
  const pass = open()
  const { header, ...rest } = pass({ ...FIELDS, isSteady: false })
  for (let round = 0; round < 100; round++) pass({ ...FIELDS, header: new Uint8Array(60).fill(round) })
  assert.deepEqual([...header], [0x91, 0xc0])
  const expected = { partitionRef: 3, api: 68, clientId: 'ä', clientHost: '::1', connectionId: 9, decoded: undefined }
  assert.deepEqual(rest, expected)
})

test('a steady one that is said again is the same object; one that differs in any part is not', () => {
  const pass = open()
  const first = pass(FIELDS)
  assert.equal(pass(FIELDS), first)
  for (const other of [
    { header: new Uint8Array([0x91, 0xc1]) },
    { partitionRef: 4 },
    { connectionId: 10 },
    { clientHost: utf8Encode('::2') },
    { isSteady: false },
  ])
    assert.notEqual(pass({ ...FIELDS, ...other }), first)
  assert.equal(pass(FIELDS), first)
})
