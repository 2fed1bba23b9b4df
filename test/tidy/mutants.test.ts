/** The rows of scripts/mutants.json fit the code: what is to be replaced is there once, and the suites exist. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryRoot } from '../support/repository.ts'

interface Row {
  readonly name: string
  readonly what: string
  readonly file: string
  readonly find: string
  readonly replace: string
  readonly suites: readonly string[]
  /** A file of test/simulation without its .test.ts. */
  readonly simulation?: string
}

const rows = JSON.parse(readFileSync(join(repositoryRoot, 'scripts/mutants.json'), 'utf8')) as readonly Row[]

/** What is wrong with a row; empty = nothing. */
function faultsOf(row: Row): string[] {
  const faults: string[] = []
  const { file, find, replace, suites, simulation } = row
  if (!/^(src|workers)\/.+\.ts$/.test(file) || !existsSync(join(repositoryRoot, file))) return [`there is no ${file}`]
  const count = readFileSync(join(repositoryRoot, file), 'utf8').split(find).length - 1
  if (count !== 1) faults.push(`'${find}' occurs ${count} times in ${file}`)
  if (find === replace) faults.push('it changes nothing')
  if (suites.length === 0) faults.push('no suite')
  if (simulation !== undefined && !existsSync(join(repositoryRoot, `test/simulation/${simulation}.test.ts`)))
    faults.push(`there is no simulation ${simulation}`)
  for (const suite of suites) {
    const [test = '', ...variables] = suite.split(' ')
    const source = join('test', test.replace(/\.js$/, '.ts'))
    if (!test.endsWith('.test.js') || !existsSync(join(repositoryRoot, source))) faults.push(`there is no ${source}`)
    for (const variable of variables)
      if (!/^MILLRACE_[A-Z_]+=\d+$/.test(variable)) faults.push(`'${variable}' is not MILLRACE_NAME=number`)
  }
  return faults
}

test('every mutant can be planted, and its suites exist', () => {
  const faults = rows.flatMap((row) => faultsOf(row).map((fault) => `${row.name}: ${fault}`))
  assert.deepEqual(faults, [], `mend these rows of scripts/mutants.json:\n${faults.join('\n')}`)
})

test('names are unique and say what they do', () => {
  assert.ok(rows.length > 0)
  assert.equal(new Set(rows.map((row) => row.name)).size, rows.length)
  for (const { name, what } of rows) assert.ok(/^[a-z0-9-]+$/.test(name) && what.length > 10, name)
})
