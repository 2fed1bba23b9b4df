#!/usr/bin/env node
/** Lint, types, generated files and tidy tests: seconds. Types were checked by the build that ran before. */
import { spawnSync } from 'node:child_process'

const steps = [
  ['biome', ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.']],
  ['generated files', ['dist/scripts/generate.js', '--check']],
  ['tidy', ['--test', 'dist/test/tidy/']],
]
let failed = 0
for (const [title, args] of steps) {
  const result = spawnSync(process.execPath, args, { stdio: 'inherit' })
  if (result.status !== 0) {
    console.error(`check: ${title} failed`)
    failed++
  }
}
process.exit(failed === 0 ? 0 : 1)
