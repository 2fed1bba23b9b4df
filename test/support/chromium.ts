/**
 * A headless Chromium for tests: found on the machine, else installed where that is wanted (CI=true, root, Debian's packages),
 * else absent with a reason that the skip names. Pages speak for themselves, by requests to their own server.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type FoundChromium =
  | { readonly kind: 'found'; readonly program: string }
  | { readonly kind: 'absent'; readonly reason: string }

const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const INSTALL_MS_MAX = 600_000
const TALK_CHARS_MAX = 16 * 1024

/** MILLRACE_CHROMIUM, or the first of the usual names that runs. */
export function findChromium(): FoundChromium {
  const given = process.env.MILLRACE_CHROMIUM
  const found = (given === undefined || given === '' ? PROGRAMS : [given]).find(runs)
  if (found !== undefined) return { kind: 'found', program: found }
  if (process.env.CI !== 'true' || process.getuid?.() !== 0)
    return { kind: 'absent', reason: 'no chromium here (apt-get install chromium, or set MILLRACE_CHROMIUM)' }
  return install()
}

function runs(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0
}

function install(): FoundChromium {
  try {
    const options = {
      stdio: 'pipe',
      timeout: INSTALL_MS_MAX,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    } as const
    execFileSync('apt-get', ['update', '-qq'], options)
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], options)
    return { kind: 'found', program: 'chromium' }
  } catch (error) {
    return { kind: 'absent', reason: `chromium could not be installed: ${String(error).slice(0, 300)}` }
  }
}

/** A browser with one page open, and a profile of its own that goes away with it. */
export class ChromiumPage {
  readonly #child: ChildProcess
  readonly #profile: string
  readonly #exited: Promise<void>
  #talk = ''

  constructor(program: string, url: string) {
    this.#profile = mkdtempSync(join(tmpdir(), 'millrace-chromium-'))
    const flags = [
      '--headless=new',
      '--no-sandbox', // root, in containers
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--no-first-run',
      '--no-default-browser-check',
      '--disable-background-networking',
      '--disable-component-update',
      '--remote-debugging-port=0', // keeps the browser open; nobody uses it
      `--user-data-dir=${this.#profile}`,
    ]
    // A process group of its own: a browser is many processes.
    this.#child = spawn(program, [...flags, url], { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    process.once('exit', this.#kill)
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#talk = (this.#talk + chunk.toString()).slice(-TALK_CHARS_MAX)
      })
    this.#exited = new Promise((resolve) => {
      this.#child.once('error', () => resolve())
      this.#child.once('exit', () => resolve())
    })
  }

  /** What the browser wrote, for the text of a failure. */
  get talk(): string {
    return this.#talk
  }

  readonly #kill = (): void => {
    if (this.#child.pid === undefined) return
    try {
      process.kill(-this.#child.pid, 'SIGKILL')
    } catch {
      // The group is gone, as it should be.
    }
  }

  async close(): Promise<void> {
    process.off('exit', this.#kill)
    this.#kill()
    await this.#exited
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  }
}
