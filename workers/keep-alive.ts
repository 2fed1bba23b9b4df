/** Thread entry of a client's keep-alive: extends the sessions of its members while their event loop is blocked. */
import { parentPort, workerData } from 'node:worker_threads'
import type { KeepAliveTarget } from '../src/client/group/keep-alive.ts'
import { SessionExtender } from '../src/client/group/session-extender.ts'
import type { KeepAliveMessage } from '../src/client/node-keep-alive.ts'
import { nodeRuntime } from '../src/client/node-runtime.ts'

const extender = new SessionExtender(nodeRuntime(), workerData as KeepAliveTarget)

parentPort!.on('message', (message: KeepAliveMessage) => {
  if (message.kind === 'heard') extender.heard(message.member)
  else extender.forget(message.groupId, message.memberId)
})
