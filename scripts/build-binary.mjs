#!/usr/bin/env node
/**
 * `npm run build:binary`: one executable with Node, the command line, the broker and its threads inside.
 *
 *   npm run build:binary [-- --out FILE]      default dist/bin/millrace
 *   node scripts/build-binary.mjs --check     exit 3 and the reason on stderr where none can be made
 *
 * The running node becomes a Node single executable application: dist/ is bundled into CommonJS (all that Node 20 can start
 * from), one bundle for the main thread and one for each kind of thread, and goes in with the native parts of this platform and
 * Node. What the bundles find inside at run time: src/executable.
 *
 * Ordering  bundles -> native.json, of the parts the bundles asked for -> blob -> injected into a copy of node -> renamed to FILE
 * Failure   exit 1; FILE is as it was before
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import zlib from 'node:zlib'
import { build } from 'esbuild'
import { inject } from 'postject'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const require = createRequire(import.meta.url)
/** Node looks for it in itself to learn whether something was injected. */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'
const EXIT_NOT_HERE = 3
const ASKED = Symbol('asked esbuild itself')
const START_ROUNDS = 5
/** Accelerators of ws that only some installations have, and what Piscina sets priorities with when it is asked to. */
const DONE_WITHOUT = /^(bufferutil|utf-8-validate|@napi-rs\/nice)$/

const dist = (path) => join(root, 'dist', path)
const NATIVE_PARTS = dist('src/executable/native-parts.js')
const POOL_WORKER = join(dirname(require.resolve('piscina')), 'worker.js')
/** Packages whose native part must be there: an installation without optional packages would make an executable that cannot start. */
const NEEDED = ['crc32', 'lz4-napi', 'snappy', ...('zstdDecompressSync' in zlib ? [] : ['@cloudpss+zstd'])]
/** The file name that starts a thread -> what is bundled for it. */
const ENTRIES = {
  'main.js': dist('src/executable/main.js'),
  'shard-worker.js': dist('workers/shard-worker.js'),
  'disk-worker.js': dist('workers/disk-worker.js'),
  'keep-alive.js': dist('workers/keep-alive.js'),
  [basename(POOL_WORKER)]: POOL_WORKER,
}

const [option, value] = process.argv.slice(2)
const why = whyNotHere()
if (why !== undefined) {
  console.error(`no single executable can be made here: ${why}`)
  process.exit(EXIT_NOT_HERE)
}
if (option === '--out' ? value === undefined : option !== undefined && option !== '--check') {
  console.error(`unknown arguments '${process.argv.slice(2).join(' ')}'. Known: --out FILE, --check`)
  process.exit(2)
}
if (option !== '--check') await make(resolve(value ?? dist('bin/millrace')))

function whyNotHere() {
  if (process.platform !== 'linux') return `it is for Linux; this is ${process.platform}`
  if (!readFileSync(process.execPath).includes(FUSE))
    return `${process.execPath} cannot carry a program (built without single executable support); use a Node of nodejs.org`
  return undefined
}

async function make(out) {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-binary-'))
  const unfinished = `${out}.${process.pid}.tmp`
  try {
    const natives = new Map()
    for (const [name, entry] of Object.entries(ENTRIES)) await bundle(name, entry, join(folder, name), natives)
    for (const needed of NEEDED)
      if (![...natives.keys()].some((name) => name.startsWith(`${needed}.`)))
        throw new Error(`there is no native part of ${needed} for this platform: install again, with optional packages`)
    const blob = makeBlob(folder, natives)
    mkdirSync(dirname(out), { recursive: true })
    copyFileSync(process.execPath, unfinished)
    chmodSync(unfinished, 0o755)
    await injectQuietly(unfinished, blob)
    const took = startTimesMs(unfinished)
    renameSync(unfinished, out)
    report({ out, blob, natives, took })
  } finally {
    rmSync(folder, { recursive: true, force: true })
    rmSync(unfinished, { force: true })
  }
}

/** One entry into one CommonJS file; adds to `natives` what it loads: name -> path. */
async function bundle(name, entry, outfile, natives) {
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    logLevel: 'warning',
    // It has a value so that code asking where it lies gets an answer; only the last part of a path made from it is looked at.
    define: { 'import.meta.url': '"file:///millrace/src/main.js"' },
    footer: { js: `//# sourceURL=millrace:${name}` },
    plugins: [
      nativeParts(natives),
      requiredByName(),
      protocolInside(),
      ...(name === 'main.js' ? [threadsFromInside()] : []),
    ],
  })
}

/** A .node file goes in as an asset, and is loaded from where src/executable has put it. */
function nativeParts(natives) {
  return {
    name: 'native-parts',
    setup({ onResolve, onLoad, resolve }) {
      const absent = (path) => ({ path, namespace: 'absent' })
      onResolve({ filter: /^(uWebSockets\.js|msgpackr-extract)$/ }, ({ path }) => {
        const native = path === 'uWebSockets.js' ? uwsBuild() : extractBuild()
        return native === undefined ? absent(path) : { path: native }
      })
      onResolve({ filter: DONE_WITHOUT }, ({ path }) => absent(path))
      // What a package tries and has not, for other platforms mostly. Left as it stands, a thread would look for it in its cwd.
      onResolve({ filter: /./ }, async ({ path, pluginData, kind, ...from }) => {
        if (kind !== 'require-call' || pluginData === ASKED || isBuiltin(path)) return undefined
        const found = await resolve(path, { ...from, kind, pluginData: ASKED })
        return found.errors.length === 0 ? found : absent(path)
      })
      onLoad({ filter: /./, namespace: 'absent' }, ({ path }) => ({
        contents: `throw new Error(${JSON.stringify(`${path} is not in this executable`)})`,
      }))
      onLoad({ filter: /\.node$/, namespace: 'file' }, ({ path }) => nativeModule(path))
    },
  }
  function nativeModule(path) {
    const name = basename(path)
    if ((natives.get(name) ?? path) !== path) throw new Error(`two native parts are named ${name}`)
    natives.set(name, path)
    const contents = `module.exports = require(${JSON.stringify(NATIVE_PARTS)}).loadNative(${JSON.stringify(name)})`
    return { contents, resolveDir: root }
  }
}

/** The build of uWebSockets.js for this Node, if there is one: the official package has it in its root, others in binaries/. */
function uwsBuild() {
  const folder = join(root, 'node_modules', 'uWebSockets.js')
  const file = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`
  return [join(folder, file), join(folder, 'binaries', file)].find(existsSync)
}

/** Packages loaded through createRequire(), which a bundler does not see: name -> JavaScript that answers the package. */
function packagesByName() {
  // The zstd package finds its native part through the second. A Node with zstd of its own never asks: src/record/node-codecs.ts.
  const zstd = {
    '@cloudpss/zstd/napi': `require('@cloudpss/zstd/napi')`,
    'node-gyp-build': `() => require(${JSON.stringify(prebuilt('@cloudpss/zstd', 'node-gyp-build'))})`,
  }
  return {
    snappy: `require('snappy')`,
    'lz4-napi': `require('lz4-napi')`,
    'msgpackr-extract': `require('msgpackr-extract')`,
    ...('zstdDecompressSync' in zlib ? {} : zstd),
  }
}

/** What makes msgpackr read texts faster, if there is a build of it: an optional package. */
function extractBuild() {
  try {
    return prebuilt('msgpackr-extract', 'node-gyp-build-optional-packages')
  } catch {
    return undefined
  }
}

/** The native part of a package for this Node, as `finder`, which the package uses, finds it. */
function prebuilt(name, finder) {
  return require(finder).path(join(root, 'node_modules', name))
}

/** node:module with a createRequire() that knows these packages. */
function requiredByName() {
  const rows = Object.entries(packagesByName()).map(([name, code]) => `${JSON.stringify(name)}: () => ${code}`)
  const contents = `
    const packages = { ${rows.join(', ')} }
    export function createRequire() {
      return (name) => {
        if (name.startsWith('node:')) return require(name)
        if (!Object.hasOwn(packages, name)) throw new Error(name + ' is not in this executable')
        return packages[name]()
      }
    }`
  return {
    name: 'required-by-name',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^(node:)?module$/ }, () => ({ path: 'module', namespace: 'by-name' }))
      onLoad({ filter: /./, namespace: 'by-name' }, () => ({ contents, resolveDir: root }))
      // The pool's threads are told which file to load, and would require() it or else import() it; inside there is one.
      onLoad({ filter: /piscina[\\/]dist[\\/]worker\.js$/ }, ({ path }) => {
        const tasks = `require(${JSON.stringify(dist('workers/storage-task.js'))})`
        const contents = ['require(s)', 'getImportESM()((0, node_url_1.pathToFileURL)(filename).href)'].reduce(
          (text, find) => replaceOnce(text, find, tasks, path),
          readFileSync(path, 'utf8'),
        )
        return { contents, resolveDir: dirname(path) }
      })
    },
  }
}

/** etcd3 reads etcd's protocol from .proto files beside itself: here they are read at build time. */
function protocolInside() {
  return {
    name: 'protocol-inside',
    setup({ onLoad }) {
      onLoad({ filter: /etcd3[\\/]lib[\\/]connection-pool\.js$/ }, ({ path }) => {
        const requireOf = createRequire(createRequire(path).resolve('@grpc/proto-loader'))
        const { Root } = requireOf('protobufjs')
        const protocol = new Root().loadSync(join(dirname(path), '../proto/rpc.proto'), { keepCase: true }).toJSON()
        const find = `(0, proto_loader_1.loadSync)(\`\${__dirname}/../proto/rpc.proto\`,`
        const contents = replaceOnce(
          readFileSync(path, 'utf8'),
          find,
          `(0, proto_loader_1.fromJSON)(${JSON.stringify(protocol)},`,
          path,
        )
        return { contents, resolveDir: dirname(path) }
      })
    },
  }
}

/** node:worker_threads of the main thread, for all but the module that stands in for it. */
function threadsFromInside() {
  return {
    name: 'threads-from-inside',
    setup({ onResolve }) {
      onResolve({ filter: /^(node:)?worker_threads$/ }, ({ importer }) =>
        importer.startsWith(dist('src/executable/')) ? undefined : { path: dist('src/executable/worker-threads.js') },
      )
    },
  }
}

function replaceOnce(text, find, replacement, path) {
  if (text.split(find).length !== 2) throw new Error(`${path} is not what it was: '${find}' is not there exactly once`)
  return text.replace(find, () => replacement)
}

/** Writes native.json and has node make the blob: answers it. */
function makeBlob(folder, natives) {
  const files = [...natives].map(([name, path]) => ({ name, path, bytes: statSync(path).size }))
  files.sort((left, right) => left.bytes - right.bytes)
  const manifest = files.map(({ name, path }) => ({ name, sha256: sha256(path) }))
  writeFileSync(join(folder, 'native.json'), JSON.stringify(manifest))
  const threads = Object.keys(ENTRIES).filter((name) => name !== 'main.js')
  const config = {
    main: join(folder, 'main.js'),
    output: join(folder, 'blob'),
    disableExperimentalSEAWarning: true,
    useCodeCache: true,
    assets: {
      'native.json': join(folder, 'native.json'),
      ...Object.fromEntries(threads.map((name) => [`workers/${name}`, join(folder, name)])),
      ...Object.fromEntries(files.map(({ name, path }) => [`native/${name}`, path])),
    },
  }
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  const made = spawnSync(process.execPath, ['--experimental-sea-config', join(folder, 'config.json')], {
    encoding: 'utf8',
  })
  if (made.status !== 0) throw new Error(`node made no blob:\n${made.stdout}${made.stderr}`)
  return readFileSync(config.output)
}

function sha256(path) {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

/** postject's library complains about names of node's notes that do not matter here; anything else is passed on. */
async function injectQuietly(path, blob) {
  const { warn } = console
  console.warn = (...words) => {
    if (!/string offset for section name '\.note/.test(words.join(' '))) warn(...words)
  }
  try {
    await inject(path, 'NODE_SEA_BLOB', blob, { sentinelFuse: FUSE })
  } finally {
    console.warn = warn
  }
}

/** Throws when it does not start. Its native parts stay where they are put: the finished one finds them there. */
function startTimesMs(executable) {
  return Array.from({ length: START_ROUNDS }, () => {
    const startedMs = performance.now()
    const started = spawnSync(executable, ['--version'], { encoding: 'utf8' })
    if (started.status !== 0) throw new Error(`${executable} --version failed:\n${started.stdout}${started.stderr}`)
    return performance.now() - startedMs
  })
}

function report({ out, blob, natives, took }) {
  const mib = (bytes) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`
  const parts = [...natives.keys()].join(', ')
  const median = took.toSorted((left, right) => left - right)[START_ROUNDS >> 1]
  console.log(`${out}: ${mib(statSync(out).size)}, ${mib(blob.length)} of it Millrace; Node ${process.versions.node}`)
  console.log(`  native parts  ${parts}`)
  console.log(`  --version     ${took[0].toFixed(0)} ms the first time, then ${median.toFixed(0)} ms`)
}
