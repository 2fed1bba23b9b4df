/** The other end of socket-limit.ts: a plain `ws` server that counts bytes and answers once, when all have come. */
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import { SUBPROTOCOL } from '../../src/transport/transport.ts'

const expected = Number(process.argv[2])
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  perMessageDeflate: false,
  handleProtocols: () => SUBPROTOCOL,
})
server.on('listening', () => process.send!((server.address() as AddressInfo).port))
server.on('connection', (socket) => {
  let bytes = 0
  socket.on('message', (data: Buffer) => {
    bytes += data.length
    if (bytes === expected) socket.send(Buffer.from('all'))
  })
})
process.once('disconnect', () => process.exit(0))
