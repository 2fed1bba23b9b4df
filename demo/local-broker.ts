/** A broker of one's own for a demonstration: a process on a free port with a data dir that goes away with it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const MILLRACE = join(dirname(dirname(fileURLToPath(import.meta.url))), 'src', 'cli', 'main.js')
const READY_MS_MAX = 20_000

export interface LocalBroker {
  readonly url: string
  stop(): Promise<void>
}

export async function startLocalBroker(args: readonly string[] = []): Promise<LocalBroker> {
  const dataDir = mkdtempSync(join(tmpdir(), 'millrace-demo-'))
  const flags = ['start', '--json', '--data-dir', dataDir, '--listen', '127.0.0.1:0', ...args]
  const child = spawn(process.execPath, [MILLRACE, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    await exited
    rmSync(dataDir, { recursive: true, force: true })
  }
  try {
    return { url: await urlOf(child), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** The URL that the broker names when it is ready. */
function urlOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let talk = ''
    const fail = (why: string): void => reject(new Error(`the broker ${why}\n${talk}`))
    const timer = setTimeout(() => fail(`was not ready within ${READY_MS_MAX} ms`), READY_MS_MAX)
    child.stderr!.on('data', (chunk: Buffer) => {
      talk += chunk.toString()
    })
    child.once('exit', (code) => fail(`ended with ${code}`))
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const event = JSON.parse(line) as { event: string; url: string }
      if (event.event !== 'ready') return
      clearTimeout(timer)
      resolve(event.url)
    })
  })
}
