/**
 * `millrace start`: runs a broker until SIGTERM or SIGINT, then stops it in order: what was acknowledged is on disk, the next
 * start needs no recovery. A second signal ends the process at once. With --json the facts are events on stdout, a line each.
 */
import { type BrokerConfig, resolveConfig } from '../../config/index.ts'
import { isMillraceError, MillraceError } from '../../model/errors.ts'
import { type ConfigFlags, configInputOf } from '../config-input.ts'
import { ExitCode } from '../exit-codes.ts'
import { plainReason } from '../files.ts'
import { explainListenFault, tryListen } from '../listen-fault.ts'
import type { Terminal } from '../terminal.ts'

export async function start(terminal: Terminal, flags: ConfigFlags): Promise<void> {
  const config = resolveConfig(configInputOf(flags, process.env))
  // Here and not above: no other command loads a broker.
  const { describeStart, startBroker } = await import('../../main.ts')
  const over = new AbortController()
  const broker = await startBroker({ config, onOver: (reason) => over.abort(new Error(reason)) }).catch(
    async (error: unknown) => {
      throw await explained(error, config)
    },
  )
  try {
    if (terminal.isJson) {
      const { url, port, version, shards, engine, readyMs } = broker
      const http = url.replace(/^ws/, 'http')
      const kafka = broker.gateway.kafkaAddress ?? null
      const node = process.versions.node
      terminal.writeJson({
        event: 'ready',
        url,
        http,
        kafka,
        port,
        version,
        node,
        shards,
        engine,
        readyMs,
        pid: process.pid,
      })
    } else for (const line of describeStart(broker)) terminal.say(line)
    await aborted(AbortSignal.any([terminal.signal, over.signal]))
    if (over.signal.aborted) throw over.signal.reason
    terminal.say(`${terminal.interruptedBy ?? 'stdout closed'}: stopping`)
  } finally {
    await broker.close()
  }
  if (terminal.isJson) terminal.writeJson({ event: 'stopped' })
  else terminal.say('stopped')
  if (terminal.interruptedBy === 'SIGINT') process.exitCode = ExitCode.INTERRUPTED
}

/** A data dir that cannot be made, an etcd or an address that cannot be had: with the reason and what to do. */
async function explained(error: unknown, { dataDir, listen, kafka }: BrokerConfig): Promise<unknown> {
  if (
    isMillraceError(error) &&
    error.code === 'BROKER_NOT_AVAILABLE' &&
    /^etcd cannot be reached/.test(error.message)
  ) {
    const advice = 'start it, or name the URLs of its members with --etcd; without --etcd a broker runs alone'
    return new MillraceError(error.code, `${error.message}; ${advice}`, { cause: error })
  }
  const { code, syscall, message } = error as NodeJS.ErrnoException
  if (/^make folder /.test(message)) {
    const text = `the data dir '${dataDir}' cannot be made: ${plainReason(error)}; name another with --data-dir`
    return new Error(text, { cause: error })
  }
  if (syscall !== 'listen' && syscall !== 'getaddrinfo' && !/^cannot listen/.test(message)) return error
  // The engine for WebSockets does not say which address it was: the one that cannot be listened at. Free by now: then what it said stands.
  const reason = await tryListen(listen.host, listen.port)
  if (reason === undefined && kafka.listen !== undefined) {
    const { host, port } = kafka.listen
    const kafkaReason = await tryListen(host, port)
    if (kafkaReason !== undefined)
      return new Error(explainListenFault(host, port, kafkaReason, '--kafka'), { cause: error })
  }
  const { host, port } = listen
  return new Error(explainListenFault(host, port, reason ?? code ?? message), { cause: error })
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
