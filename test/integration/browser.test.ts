/**
 * The browser's make of the client: bundled as a user's bundler does it, without a Node module, and run in a headless Chromium
 * against a real broker: produce, tail with credits, resume by offset after a reload. What Chromium needs is said by the skip.
 */
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { build, type Metafile } from 'esbuild'
import type { BrowserReport } from '../support/browser-page.ts'
import { ChromiumPage, findChromium } from '../support/chromium.ts'
import { repositoryRoot } from '../support/repository.ts'
import { withTestBroker } from '../support/test-broker.ts'

const REPORT_MS_MAX = 180_000
const CREDIT_WINDOW_BYTES_MAX = 16 * 1024 * 1024

interface Bundle {
  readonly text: string
  readonly bytes: number
  readonly gzipBytes: number
  readonly inputs: readonly string[]
  readonly imports: Metafile['outputs'][string]['imports']
}

/** What esbuild makes of a module that a page loads; `external` modules would be among its imports. */
async function bundle(entry: { readonly path: string } | { readonly text: string }): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    ...('path' in entry
      ? { entryPoints: [entry.path] }
      : { stdin: { contents: entry.text, resolveDir: repositoryRoot, sourcefile: 'entry.js' } }),
    absWorkingDir: repositoryRoot,
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    minify: true,
    write: false,
    metafile: true,
    logLevel: 'silent',
  })
  const { contents, text } = outputFiles[0]!
  return {
    text,
    bytes: contents.length,
    gzipBytes: gzipSync(contents).length,
    inputs: Object.keys(metafile.inputs),
    imports: Object.values(metafile.outputs)[0]!.imports,
  }
}

test('millrace/client bundles for browsers without a Node module, by its export condition', async (t) => {
  const made = await bundle({ text: "export * from 'millrace/client'" })
  assert.ok(made.inputs.includes('dist/src/client/browser.js'), 'the browser condition leads to the browser make')
  // Bundling would have failed at a node: module; these are the makes that stand behind the ports.
  const nodeOnly = made.inputs.filter((path) => /\/node\/|\/node-|node_modules\/(?!msgpackr\/)/.test(path))
  assert.deepEqual(nodeOnly, [])
  assert.deepEqual(made.imports, [], 'everything is inside')
  const foreign = /.{0,60}(?:\brequire\(|(?:from|import) ?\(?["']node:).{0,60}/.exec(made.text)?.[0]
  assert.equal(foreign, undefined, 'nothing is asked of Node')
  t.diagnostic(`reached ${made.bytes} bytes minified, ${made.gzipBytes} gzipped`)
})

/** A server of one page and its script; resolves with what the page reports. */
class PageServer {
  readonly #server: Server
  readonly report: Promise<BrowserReport>

  constructor(script: string) {
    let resolve: (report: BrowserReport) => void
    this.report = new Promise((onReport) => {
      resolve = onReport
    })
    const page = '<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>'
    this.#server = createServer((request, response) => {
      if (request.method === 'POST') {
        let body = ''
        request.on('data', (chunk: Buffer) => {
          body += chunk.toString()
        })
        request.on('end', () => {
          response.end()
          resolve(JSON.parse(body) as BrowserReport)
        })
      } else if (request.url === '/page.js') response.setHeader('content-type', 'text/javascript').end(script)
      else response.setHeader('content-type', 'text/html').end(page)
    })
  }

  /** Listens; answers the Origin of its pages. */
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

async function reportOf(program: string, server: PageServer, url: string): Promise<BrowserReport> {
  const page = new ChromiumPage(program, url)
  let timer: NodeJS.Timeout | undefined
  try {
    const silence = new Promise<never>((_, reject) => {
      const fail = (): void =>
        reject(new Error(`no report within ${REPORT_MS_MAX} ms; the browser said:\n${page.talk}`))
      timer = setTimeout(fail, REPORT_MS_MAX)
    })
    return await Promise.race([server.report, silence])
  } finally {
    clearTimeout(timer)
    await page.close()
  }
}

const chromium = findChromium()
const options = chromium.kind === 'found' ? {} : { skip: chromium.reason }

test('in a browser: produce, tail with credits, resume by offset after a reload', options, async (t) => {
  assert.ok(chromium.kind === 'found')
  const { text: script } = await bundle({ path: join('dist', 'test', 'support', 'browser-page.js') })
  const [listed, stranger] = [new PageServer(script), new PageServer(script)]
  const [origin, strangeOrigin] = [await listed.listen(), await stranger.listen()]
  try {
    await withTestBroker({ args: ['--set', `auth.origins=${origin}`] }, async (broker) => {
      const refused = await reportOf(chromium.program, stranger, `${strangeOrigin}/?mode=refused&broker=${broker.url}`)
      assert.match(refused.error ?? 'it was let in', /^CONNECTION_FAILED/, 'an Origin that is not listed is refused')
      const report = await reportOf(chromium.program, listed, `${origin}/?broker=${broker.url}`)
      assert.equal(report.error, undefined)
      assert.equal(report.records, 24 * 1024)
      assert.ok(report.bytes! > CREDIT_WINDOW_BYTES_MAX, 'more than the first credit was sent: it was lent again')
      assert.equal(report.connectionsLost, 0)
      assert.ok(report.prefetchPeakBytes! <= 3 * 1024 * 1024 + 512 * 1024, `${report.prefetchPeakBytes} bytes waited`)
      checkVisits(report)
      const mbPerSecond = report.bytes! / 1000 / report.produceMs!
      t.diagnostic(
        `reached ${mbPerSecond.toFixed(1)} MB/s produced beside a slow tail; CRC-32C ${report.crcMegabytesPerSecond!.toFixed(0)} MB/s`,
      )
    })
  } finally {
    listed.close()
    stranger.close()
  }
})

/** Before and after the reload together: everything, once each, in order within each partition. */
function checkVisits(report: BrowserReport): void {
  const seen = [...report.beforeReload!, ...report.afterReload!]
  const first = Array.from({ length: 20 }, (_, index) => `first ${index}`)
  const second = Array.from({ length: 6 }, (_, index) => `second ${index}`)
  assert.equal(report.beforeReload!.length, 14)
  assert.deepEqual([...seen].sort(), [...first, ...second].sort())
  for (const parity of [0, 1]) {
    const numbers = seen
      .filter((visit) => visit.startsWith('first '))
      .map((visit) => Number(visit.slice(6)))
      .filter((number) => number % 2 === parity)
    assert.deepEqual(
      numbers,
      Array.from({ length: 10 }, (_, index) => 2 * index + parity),
    )
  }
}
