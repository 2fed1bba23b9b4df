/** The client's contract over everything that can be between it and a broker: memory, memory and rings, WebSocket on both engines. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { probeUwsEngine } from '../../src/broker/listeners/uws-engine.ts'
import { connect } from '../../src/client/index.ts'
import { resolveConfig } from '../../src/config/index.ts'
import { type CreateBrokerOptions, createBroker } from '../../src/in-process/create-broker.ts'
import { startBroker } from '../../src/main.ts'
import { type ClientMake, clientContract } from './client.contract.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-client-'))
after(() => rmSync(folder, { recursive: true, force: true }))

async function inProcess(options: CreateBrokerOptions): Promise<ClientMake> {
  const broker = await createBroker(options)
  return {
    connect: async (clientOptions) => broker.client(clientOptions),
    dropConnections: () => broker.cutConnections(),
    close: () => broker.close(),
  }
}

async function overSocket(engine: 'uws' | 'ws'): Promise<ClientMake | undefined> {
  if (engine === 'uws' && (await probeUwsEngine()) === undefined) return undefined
  const all = {
    ...{ listen: '127.0.0.1:0', dataDir: join(folder, engine), shards: '2', 'log.level': 'silent' },
    'listeners.ws.engine': engine,
  }
  const flags = Object.entries(all).map(([path, value]) => ({ path, value, source: 'test' }))
  const broker = await startBroker({ config: resolveConfig({ flags }) })
  return {
    connect: (clientOptions) => connect(broker.url, clientOptions),
    dropConnections: () => {
      for (const connection of broker.gateway.pool.all) connection.socket?.close(1012, 'dropped by the test')
    },
    close: () => broker.close(),
  }
}

clientContract('in process, in memory', () => inProcess({ storage: 'memory', shards: 2 }))
clientContract('in process, on disk', () => inProcess({ storage: { dir: join(folder, 'disk') } }))
clientContract('in process, over rings to worker threads', () =>
  inProcess({ storage: { dir: join(folder, 'rings') }, shards: 2, workers: true }),
)
clientContract(
  'WebSocket, uws',
  () => overSocket('uws'),
  `uWebSockets.js has no native build here for Node ${process.versions.node}`,
)
clientContract('WebSocket, ws', () => overSocket('ws'))
