/**
 * `millrace start`: runs a broker until SIGTERM or SIGINT, then stops it in order: what was acknowledged is on disk, the next
 * start needs no recovery. A second signal ends the process at once. With --json the facts are events on stdout, a line each.
 */
import { resolveConfig } from '../../config/index.ts'
import { type ConfigFlags, configInputOf } from '../config-input.ts'
import { ExitCode } from '../exit-codes.ts'
import type { Terminal } from '../terminal.ts'

export async function start(terminal: Terminal, flags: ConfigFlags): Promise<void> {
  const config = resolveConfig(configInputOf(flags, process.env))
  // Here and not above: no other command loads a broker.
  const { describeStart, startBroker } = await import('../../main.ts')
  const broker = await startBroker({ config })
  try {
    if (terminal.isJson) {
      const { url, port, version, shards, engine, readyMs } = broker
      const http = url.replace(/^ws/, 'http')
      const node = process.versions.node
      terminal.writeJson({ event: 'ready', url, http, port, version, node, shards, engine, readyMs, pid: process.pid })
    } else for (const line of describeStart(broker)) terminal.say(line)
    await aborted(terminal.signal)
    terminal.say(`${terminal.interruptedBy ?? 'stdout closed'}: stopping`)
  } finally {
    await broker.close()
  }
  if (terminal.isJson) terminal.writeJson({ event: 'stopped' })
  else terminal.say('stopped')
  if (terminal.interruptedBy === 'SIGINT') process.exitCode = ExitCode.INTERRUPTED
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
