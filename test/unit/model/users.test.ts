import assert from 'node:assert/strict'
import { test } from 'node:test'
import { USER_NAME_BYTES_MAX } from '../../../src/model/limits.ts'
import { SCRAM_MECHANISMS, SCRAM_NUMBERS, scramMechanismOf, userNameFault } from '../../../src/model/users.ts'

test('a user name is what SCRAM can carry: 1 to 249 bytes of UTF-8 without control characters', () => {
  for (const name of [
    'alice',
    'a',
    'CN=broker, O=Müller',
    'アリス',
    '🦀',
    ' ',
    'a/b',
    'x'.repeat(249),
    'é'.repeat(124),
  ])
    assert.equal(userNameFault(name), undefined, name)
  const refused: readonly (readonly [unknown, RegExp])[] = [
    ['', /empty/],
    ['x'.repeat(USER_NAME_BYTES_MAX + 1), /at most 249 bytes/],
    ['é'.repeat(125), /at most 249 bytes/],
    ['a\0b', /no control characters/],
    ['a\nb', /no control characters/],
    ['a\u007f', /no control characters/],
    ['a\u0085', /no control characters/],
    ['\ud800', /no control characters/],
    ['token', /stands for the tokens/],
    [7, /not a number/],
    [null, /not null/],
  ]
  for (const [name, fault] of refused) assert.match(userNameFault(name) ?? '', fault, JSON.stringify(name))
})

test("mechanisms have Kafka's numbers", () => {
  assert.deepEqual(SCRAM_NUMBERS, { 'SCRAM-SHA-256': 1, 'SCRAM-SHA-512': 2 })
  for (const mechanism of SCRAM_MECHANISMS) assert.equal(scramMechanismOf(SCRAM_NUMBERS[mechanism]), mechanism)
  for (const number of [0, 3, -1]) assert.equal(scramMechanismOf(number), undefined)
})
