/** A session of a Kafka client as a process: steps that it takes by itself, each told by a line of JSON. */
import { spawn } from 'node:child_process'

export interface SessionLine {
  readonly step: string
  readonly answer?: unknown
  readonly error?: string
}

/** A session that hangs ends here: its test fails by the steps it did not tell of. */
const RUN_MS_MAX = 120_000

/** Runs it to its end. Throws, with what it said, when it ends otherwise than well. */
export function runJsonLines(program: string, args: readonly string[]): Promise<SessionLine[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const killWithUs = (): void => void child.kill('SIGKILL')
    process.once('exit', killWithUs)
    const timer = setTimeout(killWithUs, RUN_MS_MAX)
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      process.off('exit', killWithUs)
      const lines = stdout.split('\n').filter((line) => line.startsWith('{'))
      if (code === 0) resolve(lines.map((line) => JSON.parse(line) as SessionLine))
      else reject(new Error(`the session ended with ${code ?? signal} after ${lines.at(-1)}: ${stderr.slice(-2_000)}`))
    })
  })
}
