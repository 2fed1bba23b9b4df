import assert from 'node:assert/strict'
import { test } from 'node:test'
import { coordinatorPartitionOf } from '../../../src/model/internal-topics.ts'

test('a group belongs to the partition where Kafka would look for it', () => {
  assert.equal(coordinatorPartitionOf('', 50), 0)
  assert.equal(coordinatorPartitionOf('a', 50), 97 % 50)
  assert.equal(coordinatorPartitionOf('ab', 50), (97 * 31 + 98) % 50)
  // Java: "polygenelubricants".hashCode() = -2147483648, whose absolute value is negative
  assert.equal(coordinatorPartitionOf('polygenelubricants', 50), 0)
  for (let number = 0; number < 1000; number++) {
    const partition = coordinatorPartitionOf(`group-${number}`, 7)
    assert.ok(partition >= 0 && partition < 7)
  }
})
