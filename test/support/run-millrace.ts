/** `millrace` as a process, from the command line to its exit code: for the suites of the command line. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { repositoryRoot } from './repository.ts'

export const MILLRACE = join(repositoryRoot, 'dist', 'src', 'cli', 'main.js')

/** A process that hangs ends here: its test fails by what it did not say. */
const RUN_MS_MAX = 60_000

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly url?: string
  readonly input?: string
  /** Written to stdin, which stays open. */
  readonly firstInput?: string
  /** Laid over this process's environment. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Sends this signal when stdout or stderr first says something. */
  readonly interruptAt?: RegExp
}

export function millrace(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const server = options.url === undefined ? {} : { MILLRACE_SERVER: options.url }
    const env = { ...process.env, ...server, ...options.env }
    const child = spawn(process.execPath, [MILLRACE, ...args], { env, cwd: options.cwd })
    const timer = setTimeout(() => child.kill('SIGKILL'), RUN_MS_MAX)
    let stdout = ''
    let stderr = ''
    const look = (): void => {
      if (options.interruptAt?.test(stdout + stderr)) child.kill('SIGINT')
    }
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
      look()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
      look()
    })
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve({ code, stdout, stderr })
    })
    child.stdin.on('error', () => {})
    if (options.firstInput !== undefined) child.stdin.write(options.firstInput)
    else if (options.interruptAt === undefined || options.input !== undefined) child.stdin.end(options.input ?? '')
  })
}
