/**
 * EchoProcess: a process that answers every message with itself, over the broker's WebSocket engine: the floor under what a broker
 * that answers small requests can cost. Run as a program it is that process: it tells its parent its URL, and its CPU time when asked.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { chooseEngine, type EngineChoice } from '../../src/broker/listeners/choose-engine.ts'
import type { EngineHandler } from '../../src/broker/listeners/web-socket-engine.ts'
import { benchOptions } from './options.ts'

const MESSAGE_BYTES_MAX = 64 * 1024
const SEND_BUFFER_BYTES_MAX = 1024 * 1024
const IDLE_SECONDS = 120

export class EchoProcess {
  readonly #child: ChildProcess
  readonly url: string

  private constructor(child: ChildProcess, url: string) {
    this.#child = child
    this.url = url
  }

  static async start(): Promise<EchoProcess> {
    const child = fork(fileURLToPath(import.meta.url), [benchOptions().text('engine', 'auto')])
    const [url] = (await once(child, 'message')) as [string]
    return new EchoProcess(child, url)
  }

  /** User and system time since its start. */
  async cpuSeconds(): Promise<number> {
    this.#child.send('cpu')
    const [microseconds] = (await once(this.#child, 'message')) as [number]
    return microseconds / 1e6
  }

  async stop(): Promise<void> {
    this.#child.kill()
    await once(this.#child, 'exit')
  }
}

async function echo(engineChoice: EngineChoice): Promise<void> {
  // It needs no timers but for sockets that do not close.
  const timers = { every: () => () => {}, after: () => () => {}, soon: setImmediate }
  const engine = await chooseEngine(engineChoice, timers)
  const handler: EngineHandler<null> = {
    onUpgrade: () => ({ kind: 'accept', context: null, protocol: '' }),
    onOpen: () => {},
    onMessage: (socket, bytes) => void socket.send([bytes.slice()], () => {}),
    onDrain: () => {},
    onClose: () => {},
    onHttp: () => Promise.reject(new Error('an echo speaks WebSocket')),
  }
  const options = { messageBytesMax: MESSAGE_BYTES_MAX, sendBufferBytesMax: SEND_BUFFER_BYTES_MAX }
  const port = await engine.listen({ host: '127.0.0.1', port: 0, idleSeconds: IDLE_SECONDS, ...options }, handler)
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send!(user + system)
  })
  process.on('disconnect', () => process.exit())
  process.send!(`ws://127.0.0.1:${port}`)
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url))
  await echo(process.argv[2] as EngineChoice)
