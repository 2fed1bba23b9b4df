/**
 * kcat for tests: found on the machine, else installed where that is wanted (CI=true, root, Debian's packages), else absent with a
 * reason that the skip names. It is librdkafka as Debian has it, unmodified.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'

export type FoundKcat =
  | { readonly kind: 'found'; readonly program: string; readonly version: string }
  | { readonly kind: 'absent'; readonly reason: string }

export interface KcatOutcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const INSTALL_MS_MAX = 600_000
/** A kcat that hangs ends here: its test fails by what it did not say. */
const RUN_MS_MAX = 30_000
const END_MS_MAX = 20_000
const TALK_CHARS_MAX = 16 * 1024

/** MILLRACE_KCAT, or `kcat`. */
export function findKcat(): FoundKcat {
  const given = process.env.MILLRACE_KCAT
  const program = given === undefined || given === '' ? 'kcat' : given
  const version = versionOf(program)
  if (version !== undefined) return { kind: 'found', program, version }
  if (process.env.CI !== 'true' || process.getuid?.() !== 0)
    return { kind: 'absent', reason: 'no kcat here (apt-get install kcat, or set MILLRACE_KCAT)' }
  return install()
}

function versionOf(program: string): string | undefined {
  const { status, stdout } = spawnSync(program, ['-V'], { encoding: 'utf8' })
  if (status !== 0) return undefined
  const [, kcat = '?', librdkafka = '?'] = /^Version (\S+) .*librdkafka (\S+)/m.exec(stdout) ?? []
  return `kcat ${kcat}, librdkafka ${librdkafka}`
}

function install(): FoundKcat {
  try {
    const options = {
      stdio: 'pipe',
      timeout: INSTALL_MS_MAX,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    } as const
    execFileSync('apt-get', ['update', '-qq'], options)
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'kcat'], options)
    return { kind: 'found', program: 'kcat', version: versionOf('kcat') ?? '?' }
  } catch (error) {
    return { kind: 'absent', reason: `kcat could not be installed: ${String(error).slice(0, 300)}` }
  }
}

/** kcat from its command line to its exit code. */
export function runKcat(
  program: string,
  args: readonly string[],
  input: string | Uint8Array = '',
): Promise<KcatOutcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    const timer = setTimeout(() => child.kill('SIGKILL'), RUN_MS_MAX)
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk))
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk))
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve({ code, stdout, stderr })
    })
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}

/** A kcat that stays: a member of a group, or a producer whose input is open. Ends with this process at the latest. */
export class KcatProcess {
  readonly #child: ChildProcess
  readonly exited: Promise<number | null>
  readonly lines: string[] = []
  /** The end of what it said on stderr. */
  talk = ''

  constructor(program: string, args: readonly string[]) {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child = child
    const killWithUs = (): void => void child.kill('SIGKILL')
    process.once('exit', killWithUs)
    this.exited = new Promise((resolve) => {
      child.once('exit', (code) => {
        process.off('exit', killWithUs)
        resolve(code)
      })
    })
    createInterface({ input: child.stdout }).on('line', (line) => this.lines.push(line))
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.talk = (this.talk + chunk).slice(-TALK_CHARS_MAX)
    })
    child.stdin.on('error', () => {})
  }

  write(text: string): void {
    this.#child.stdin?.write(text)
  }

  /** Its input ends too: a kcat that waits for it does not hear signals but kill -9. Killed when it takes too long. */
  async end(signal: 'SIGINT' | 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_MS_MAX)
    this.#child.kill(signal)
    this.#child.stdin?.end()
    const code = await this.exited
    clearTimeout(timer)
    return code
  }
}
