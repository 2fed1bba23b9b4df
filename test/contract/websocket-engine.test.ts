/** The engine's contract on both makes. */
import { nodeTimers } from '../../src/base/node/node-timers.ts'
import { probeUwsEngine } from '../../src/broker/listeners/uws-engine.ts'
import { WsEngine } from '../../src/broker/listeners/ws-engine.ts'
import { webSocketEngineContract } from './websocket-engine.contract.ts'

webSocketEngineContract('uws', probeUwsEngine)
webSocketEngineContract('ws', async () => new WsEngine(nodeTimers))
