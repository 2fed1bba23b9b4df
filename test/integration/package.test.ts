/** The package as it is published: only what `files` lists, entries by their names, one set of classes, threads from the bundle. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { repositoryRoot } from '../support/repository.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-package-'))
const RUN_TIMEOUT_MS = 120_000

before(() => {
  const packing = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]
  const [packed] = JSON.parse(execFileSync('npm', packing, { cwd: repositoryRoot, encoding: 'utf8' })) as [
    { filename: string },
  ]
  // An application's folder: the package, and what it depends on.
  const modules = join(folder, 'node_modules')
  mkdirSync(modules)
  execFileSync('tar', ['-xzf', join(folder, packed.filename), '-C', folder])
  for (const name of ['millrace', 'app']) mkdirSync(join(folder, name), { recursive: true })
  symlinkSync(join(repositoryRoot, 'node_modules'), join(folder, 'package', 'node_modules'))
  symlinkSync(join(folder, 'package'), join(modules, 'millrace'))
})

after(() => rmSync(folder, { recursive: true, force: true }))

function runApp(name: string, source: string): string {
  const file = join(folder, 'app', name)
  writeFileSync(file, source)
  return execFileSync(process.execPath, [file], { encoding: 'utf8', timeout: RUN_TIMEOUT_MS })
}

test('every entry is there, and a class is the same whichever it came through', () => {
  const output = runApp(
    'identity.mjs',
    `import { createBroker, MillraceError } from 'millrace'
    import { MillraceError as OfClient } from 'millrace/client'
    import { ConfigError, resolveConfig } from 'millrace/config'
    import { createTestBroker } from 'millrace/testing'
    const broker = await createBroker({ storage: 'memory' })
    const refused = await broker.client().producer('none').send({ value: 'x' }).catch((error) => error)
    try {
      resolveConfig({ profile: 'never' })
    } catch (error) {
      console.log(error instanceof ConfigError)
    }
    console.log(MillraceError === OfClient, refused instanceof OfClient, typeof createTestBroker)
    await broker.close()`,
  )
  assert.deepEqual(output.trim().split('\n'), ['true', 'true true function'])
})

test('a broker with threads over a directory keeps what it was given', () => {
  const source = (from: string) => `import { createBroker } from 'millrace'
    const broker = await createBroker({ storage: { dir: ${JSON.stringify(join(folder, 'data'))} }, workers: true })
    const mq = broker.client()
    ${from}
    for await (const record of mq.consume('kept', { from: 'start', to: 'end' })) console.log(new TextDecoder().decode(record.value))
    await broker.close()`
  const first =
    "await mq.admin.topics.create('kept', { partitions: 1 }); await mq.producer('kept').send({ value: 'hello' })"
  assert.equal(runApp('threads.mjs', source(first)), 'hello\n')
  assert.equal(runApp('threads-again.mjs', source('')), 'hello\n')
})
