/** Every bench works: `npm run bench` in smoke size, with its figures in a file. How fast it was is not looked at. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { parseDocument } from '../../native-free-bench/harness/comparison.ts'
import { findEtcd } from '../support/etcd-process.ts'
import { repositoryRoot, sourceFiles } from '../support/repository.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-smoke-'))
after(() => rmSync(folder, { recursive: true, force: true }))

interface Outcome {
  readonly code: number
  readonly output: string
}

function run(script: string, ...words: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { cwd: repositoryRoot, timeout: 1_800_000, maxBuffer: 1 << 24 }
    execFile(process.execPath, [script, ...words], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), output: stdout + stderr })
    })
  })
}

test('every bench runs, and those that report do; a comparison with itself finds nothing', async () => {
  const file = join(folder, 'run.json')
  const { code, output } = await run('scripts/bench.mjs', '--smoke', '--out', file)
  assert.equal(code, 0, output)
  const document = parseDocument(file, readFileSync(file, 'utf8'))
  assert.ok(document.isSmoke)
  const reporting = ['micro', 'macro']
    .flatMap((part) => sourceFiles(`native-free-bench/${part}`))
    .filter(({ text }) => /\bnew Report\(/.test(text))
    .map(({ path }) => path.replace(/^native-free-bench\/(.*)\.ts$/, '$1'))
    .filter((name) => name !== 'macro/cluster' || findEtcd().kind === 'found')
  const found = new Set(document.figures.map((figure) => figure.bench))
  assert.deepEqual([...found].sort(), reporting.sort())
  const compared = await run('dist/native-free-bench/compare.js', file, file, '--fail-below', '1')
  assert.equal(compared.code, 0, compared.output)
  assert.match(compared.output, /smoke run/)
})

test('a name that no bench has is an error that names those there are', async () => {
  const { code, output } = await run('scripts/bench.mjs', 'nothing-like-it')
  assert.equal(code, 2)
  assert.match(output, /macro\/throughput/)
})
