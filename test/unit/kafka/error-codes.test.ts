import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KAFKA_APIS } from '../../../src/kafka/apis/index.ts'
import { kafkaErrorNumber, kafkaErrorOf } from '../../../src/kafka/error-codes.ts'
import { KafkaKey } from '../../../src/kafka/keys.ts'
import { ERRORS, type ErrorCode, errorNumberOf } from '../../../src/model/errors.ts'

/** [code, api, the first version that knows it, what those before are told]: KIP-588, KIP-207, KIP-98, KIP-848. */
const OLD: readonly [ErrorCode, KafkaKey, number, number][] = [
  ['PRODUCER_FENCED', KafkaKey.INIT_PRODUCER_ID, 4, 47],
  ['PRODUCER_FENCED', KafkaKey.ADD_PARTITIONS_TO_TXN, 2, 47],
  ['PRODUCER_FENCED', KafkaKey.ADD_OFFSETS_TO_TXN, 2, 47],
  ['PRODUCER_FENCED', KafkaKey.END_TXN, 2, 47],
  ['KAFKA_STORAGE_ERROR', KafkaKey.FETCH, 6, 6],
  ['OFFSET_NOT_AVAILABLE', KafkaKey.LIST_OFFSETS, 5, 5],
  ['GROUP_ID_NOT_FOUND', KafkaKey.OFFSET_COMMIT, 9, 22],
  ['STALE_MEMBER_EPOCH', KafkaKey.OFFSET_COMMIT, 9, 22],
]

test('an old version is told the code that it knows, a newer one the new code', () => {
  for (const [code, key, since, instead] of OLD)
    for (let version = 0; version < since + 3; version++)
      assert.equal(
        kafkaErrorNumber(code, key, version),
        version < since ? instead : errorNumberOf(code),
        `${code} to ${key} v${version}`,
      )
})

test('a fenced producer is an invalid epoch to whoever produces, or commits offsets by a transaction', () => {
  for (const key of [KafkaKey.PRODUCE, KafkaKey.TXN_OFFSET_COMMIT])
    for (let version = 0; version <= 11; version++) assert.equal(kafkaErrorNumber('PRODUCER_FENCED', key, version), 47)
})

test('every code is a number of the Kafka protocol, for every API in every version', () => {
  const codes = Object.keys(ERRORS) as ErrorCode[]
  assert.ok(codes.length > 50)
  for (const { key, versionMin, versionMax, name } of KAFKA_APIS)
    for (let version = versionMin; version <= versionMax; version++)
      for (const code of codes) {
        const number = kafkaErrorNumber(code, key, version)
        assert.ok(number >= -1 && number <= 133, `${code} is ${number} to ${name} v${version}`)
        assert.equal(kafkaErrorOf(errorNumberOf(code), key, version), number)
      }
  assert.equal(kafkaErrorOf(0, KafkaKey.PRODUCE, 3), 0)
})

test('what a coordinator meets beneath it passes: its clients know of no storage and no other brokers', () => {
  const notAvailable = errorNumberOf('COORDINATOR_NOT_AVAILABLE')
  const codes = [
    'KAFKA_STORAGE_ERROR',
    'DISK_FULL',
    'NETWORK_EXCEPTION',
    'CONNECTION_FAILED',
    'NOT_LEADER_OR_FOLLOWER',
  ] as const
  for (const key of [
    KafkaKey.OFFSET_COMMIT,
    KafkaKey.TXN_OFFSET_COMMIT,
    KafkaKey.ADD_OFFSETS_TO_TXN,
    KafkaKey.JOIN_GROUP,
  ])
    for (const code of codes) assert.equal(kafkaErrorNumber(code, key, 3), notAvailable, `${code} to ${key}`)
  assert.equal(kafkaErrorNumber('INVALID_TXN_STATE', KafkaKey.TXN_OFFSET_COMMIT, 3), notAvailable)
  assert.equal(kafkaErrorNumber('INVALID_TXN_STATE', KafkaKey.END_TXN, 3), errorNumberOf('INVALID_TXN_STATE'))
  assert.equal(kafkaErrorNumber('KAFKA_STORAGE_ERROR', KafkaKey.PRODUCE, 9), errorNumberOf('KAFKA_STORAGE_ERROR'))
})

test('a coordinator without room is one to ask again; what can never fit is not', () => {
  for (const key of [KafkaKey.JOIN_GROUP, KafkaKey.OFFSET_COMMIT, KafkaKey.END_TXN])
    assert.equal(kafkaErrorNumber('OVERLOADED', key, 3), errorNumberOf('COORDINATOR_NOT_AVAILABLE'))
  assert.equal(kafkaErrorNumber('MESSAGE_TOO_LARGE', KafkaKey.OFFSET_COMMIT, 3), 28)
  assert.equal(kafkaErrorNumber('MESSAGE_TOO_LARGE', KafkaKey.JOIN_GROUP, 3), 81)
  assert.equal(kafkaErrorNumber('MESSAGE_TOO_LARGE', KafkaKey.END_TXN, 3), -1)
  assert.equal(kafkaErrorNumber('MESSAGE_TOO_LARGE', KafkaKey.PRODUCE, 9), errorNumberOf('MESSAGE_TOO_LARGE'))
})
