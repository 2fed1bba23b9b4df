/** Which WebSocketEngine a broker listens with: the one named, or for `auto` the native one where it is there. */
import type { Timers } from '../timers.ts'
import type { WebSocketEngine } from './web-socket-engine.ts'
import { WsEngine } from './ws-engine.ts'

export type EngineChoice = 'auto' | 'uws' | 'ws'

/** Throws an Error that says how to get the native engine when it was asked for and is not there. */
export async function chooseEngine(choice: EngineChoice, timers: Timers): Promise<WebSocketEngine> {
  if (choice === 'ws') return new WsEngine(timers)
  const { probeUwsEngine } = await import('./uws-engine.ts')
  const engine = await probeUwsEngine()
  if (engine !== undefined) return engine
  if (choice === 'auto') return new WsEngine(timers)
  throw new Error(
    `listeners.ws.engine is uws, but uWebSockets.js has no native build here for Node ${process.versions.node}: ` +
      'install one (npm install uNetworking/uWebSockets.js#v20.52.0) or set listeners.ws.engine to ws',
  )
}
