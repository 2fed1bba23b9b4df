#!/usr/bin/env node
/**
 * The public entries of the package as a few files instead of some two hundred, in dist/bundle: resolving and reading modules was
 * more than half of what importing the package took. One set with shared chunks, so that a class is the same whichever entry
 * it came through. Threads are started from dist/workers, which lies beside dist/bundle as it lies beside dist/src.
 *
 *   node scripts/bundle.mjs        after tsc; part of `npm run build` and of packing
 *
 * The command line's entry is made executable: `bin` of package.json names it.
 *
 * Failure   exit 1 with what esbuild says
 */
import { chmodSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const dist = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist')
const outdir = join(dist, 'bundle')
rmSync(outdir, { recursive: true, force: true })
await build({
  entryPoints: {
    index: join(dist, 'src/index.js'),
    client: join(dist, 'src/client/index.js'),
    config: join(dist, 'src/config/index.js'),
    testing: join(dist, 'src/in-process/testing.js'),
  },
  outdir,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  logLevel: 'warning',
}).catch(() => process.exit(1))

// `npx millrace` in a checkout runs the file itself: newer npm does not make it executable.
chmodSync(join(dist, 'src', 'cli', 'main.js'), 0o755)
