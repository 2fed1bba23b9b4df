/** The demo of the in-process broker prints what it says. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryRoot } from '../support/repository.ts'

test('demo/in-process runs to its end and shows what it promises', () => {
  const text = execFileSync(process.execPath, [join(repositoryRoot, 'dist', 'demo', 'in-process.js')], {
    encoding: 'utf8',
  })
  const lines = text.trim().split('\n')
  assert.equal(lines.length, 6, text)
  assert.deepEqual(
    lines
      .slice(0, 3)
      .map((line) => line.split(': ')[1])
      .sort(),
    ['milk', 'tea', 'tea'],
  )
  assert.deepEqual(lines.slice(3), [
    'acknowledged at 2026-01-01T00:00:00.000Z, fsynced',
    'kept: before the power cut',
    'three days later the log starts at offset 1',
  ])
})
