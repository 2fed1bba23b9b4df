import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Encode } from '../../../src/base/bytes.ts'
import { murmur2, partitionOfKey } from '../../../src/record/partitioner.ts'

// What Kafka's Java client, kafkajs and platformatic/kafka answer.
const SIGNED: [string, number][] = [
  ['', 275646681],
  ['a', -1563381124],
  ['ab', 316155434],
  ['abc', 479470107],
  ['abcd', -1323649548],
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['key-0', 29210041],
  ['key-1', 193331640],
  ['kafka', -798503068],
  ['user-42', 1459644460],
  ['日本', -700811021],
  ['é', 186971271],
]

test('murmur2 agrees with other clients', () => {
  for (const [key, hash] of SIGNED) assert.equal(murmur2(utf8Encode(key)), hash, key)
  assert.equal(murmur2(utf8Encode('giberish123456789')) >>> 0, 0x8f552b0c)
  assert.equal(murmur2(utf8Encode('1234')) >>> 0, 0x9fc97b14)
})

test('the partition is the positive hash modulo the count', () => {
  const partitions: [string, number][] = [
    ['key-0', 1],
    ['key-1', 0],
    ['foobar', 0],
    ['kafka', 4],
    ['a', 4],
  ]
  for (const [key, partition] of partitions) {
    assert.equal(partitionOfKey(key, 6), partition, key)
    assert.equal(partitionOfKey(utf8Encode(key), 6), partition, key)
  }
})

test('a key that lies inside a larger buffer hashes as itself', () => {
  const bytes = utf8Encode('..foobar..')
  assert.equal(murmur2(bytes.subarray(2, 8)), -790332482)
})
