/** The completion script, asked by bash itself. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { completionScript } from '../../../src/cli/completion.ts'
import { buildProgram } from '../../../src/cli/program.ts'
import type { Terminal } from '../../../src/cli/terminal.ts'

const hasBash = spawnSync('bash', ['--version']).status === 0
const program = buildProgram({} as Terminal)

/** What is offered for the last word, which may be empty. */
function offered(...words: string[]): string[] {
  const ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _millrace; echo "${' + 'COMPREPLY[*]}"'
  const script = `${completionScript(program, 'bash')}\n${ask}`
  const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8' })
  assert.equal(stderr, '')
  return stdout.trim() === '' ? [] : stdout.trim().split(' ')
}

test('verbs, flags and choices are offered where they belong', { skip: hasBash ? false : 'there is no bash' }, () => {
  assert.deepEqual(offered('millrace', 'to'), ['topic'])
  assert.deepEqual(offered('millrace', 'topic', 'cr'), ['create'])
  assert.deepEqual(offered('millrace', 'topic', 'create', 'orders', '--par'), ['--partitions'])
  assert.deepEqual(offered('millrace', '-q', 'consume', '--exit'), ['--exit-at-end'])
  assert.deepEqual(offered('millrace', 'start', '--profile', ''), ['throughput', 'latency', 'balanced'])
  assert.deepEqual(offered('millrace', 'start', '--data-dir', ''), [], 'files are for the shell')
})

test('zsh gets the same through bashcompinit', () => {
  assert.match(completionScript(program, 'zsh'), /bashcompinit/)
  assert.doesNotMatch(completionScript(program, 'bash'), /bashcompinit/)
})
