#!/usr/bin/env node
/**
 * Runs benchmarks: `npm run bench` all of them in smoke size, `npm run bench -- NAME [options]` those whose path has NAME.
 * A bench that fails fails the run; its speed never does.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const words = process.argv.slice(2)
const named = words.length > 0 && !words[0].startsWith('--')
const name = named ? words[0] : ''
const options = named ? words.slice(1) : ['--smoke', ...words]
const folder = 'dist/native-free-bench'
const benches = ['micro', 'macro']
  .flatMap((part) => readdirSync(join(folder, part)).map((file) => join(part, file)))
  .filter((file) => file.endsWith('.js') && file.includes(name))
if (benches.length === 0) {
  console.error(`no bench's path has '${name}'`)
  process.exit(2)
}
let failed = 0
for (const bench of benches) {
  const startedMs = Date.now()
  console.log(`\n== ${bench.replace(/\.js$/, '')} ${options.join(' ')}`)
  const result = spawnSync(process.execPath, [join(folder, bench), ...options], {
    stdio: 'inherit',
    timeout: options.includes('--smoke') ? 120_000 : 3_600_000,
  })
  if (result.status !== 0) {
    console.log(`FAILED ${bench}`)
    failed++
  }
  console.log(`   ${((Date.now() - startedMs) / 1000).toFixed(1)} s`)
}
process.exit(failed === 0 ? 0 : 1)
