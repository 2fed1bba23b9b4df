/**
 * What the client library's socket can send without a broker: the same bytes in binary frames of 64 KiB to a plain `ws` server
 * in a process of its own, which counts them and says when all have come.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { nodeTransport } from '../../src/transport/node-transport.ts'
import type { TransportConnection } from '../../src/transport/transport.ts'

export const FRAME_BYTES = 64 * 1024
/** Given to the socket and not yet passed on: enough that it never idles. */
const BUFFERED_BYTES_MAX = 4 << 20
const SINK = fileURLToPath(new URL('./socket-sink.js', import.meta.url))

export interface SocketLimit {
  readonly mibPerSec: number
  /** Of this process, the sending one. */
  readonly cpuSecondsPerMib: number
}

export async function socketLimit(bytes: number): Promise<SocketLimit> {
  const frames = Math.max(1, Math.round(bytes / FRAME_BYTES))
  const sink = fork(SINK, [String(frames * FRAME_BYTES)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  try {
    const [port] = (await once(sink, 'message')) as [number]
    let arrived: () => void = () => {}
    const all = new Promise<void>((resolve) => {
      arrived = resolve
    })
    const connection = await connected(`ws://127.0.0.1:${port}`, () => arrived())
    const cpu = process.cpuUsage()
    const startedMs = performance.now()
    await sendFrames(connection, frames)
    await all
    const seconds = (performance.now() - startedMs) / 1000
    const { user, system } = process.cpuUsage(cpu)
    connection.terminate()
    const mib = (frames * FRAME_BYTES) / 2 ** 20
    return { mibPerSec: mib / seconds, cpuSecondsPerMib: (user + system) / 1e6 / mib }
  } finally {
    sink.kill('SIGKILL')
  }
}

function connected(url: string, onMessage: () => void): Promise<TransportConnection> {
  return new Promise((resolve, reject) => {
    const options = { connectTimeoutMs: 10_000, messageBytesMax: 1024 }
    const connection = nodeTransport.connect(url, options, {
      onOpen: () => resolve(connection),
      onMessage,
      onClose: ({ text }) => reject(new Error(`the sink is gone: ${text}`)),
    })
  })
}

async function sendFrames(connection: TransportConnection, frames: number): Promise<void> {
  const frame = new Uint8Array(FRAME_BYTES).fill(0x5a)
  let [buffered, wake] = [0, (): void => {}]
  const done = (): void => {
    buffered -= FRAME_BYTES
    wake()
  }
  for (let index = 0; index < frames; index++) {
    connection.send([frame], done)
    buffered += FRAME_BYTES
    while (buffered >= BUFFERED_BYTES_MAX)
      await new Promise<void>((resolve) => {
        wake = resolve
      })
  }
}
