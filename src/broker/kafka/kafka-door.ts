/**
 * KafkaDoor: the listener for Kafka clients: connections in and out; what they ask for is the dispatcher's.
 *
 * Owns        the listening socket's port; connections are the gateway's pool's, like those of the native door
 * Thread      main
 * Limits      limits.connections over both doors; UNAUTHENTICATED_CONNECTIONS_MAX of them, each for AUTHENTICATION_MS_MAX
 */
import type { HostPort } from '../../base/host-port.ts'
import { FrameBuffers } from '../../kafka/codec/frame-buffers.ts'
import { UNAUTHENTICATED_CONNECTIONS_MAX } from '../../model/limits.ts'
import { ANONYMOUS } from '../authorise.ts'
import type { GatewayConnections } from '../gateway-connections.ts'
import type { StreamEngine, StreamHandler, StreamSocket } from '../listeners/stream-engine.ts'
import type { SocketEnd } from '../listeners/web-socket-engine.ts'
import { KafkaConnection } from './kafka-connection.ts'
import { KafkaDispatcher } from './kafka-dispatcher.ts'
import type { KafkaContext } from './kafka-handler.ts'
import { ReceiveTurns } from './receive-turns.ts'

/** Above a connection's window there is one reply of any size. */
const SEND_BUFFER_SLACK_BYTES = 256 * 1024 * 1024

export interface KafkaDoorContext extends KafkaContext {
  readonly pool: GatewayConnections
}

export class KafkaDoor implements StreamHandler<KafkaConnection> {
  readonly #gateway: KafkaDoorContext
  readonly #engine: StreamEngine
  readonly #dispatcher: KafkaDispatcher
  readonly #buffers = new FrameBuffers()
  readonly #turns: ReceiveTurns
  #unauthenticated = 0
  #isClosing = false
  /** Where it listens; undefined = it does not. */
  address: HostPort | undefined

  constructor(gateway: KafkaDoorContext, engine: StreamEngine) {
    this.#gateway = gateway
    this.#engine = engine
    this.#dispatcher = new KafkaDispatcher(gateway)
    this.#turns = new ReceiveTurns(gateway.pool)
  }

  async listen({ host, port }: HostPort): Promise<void> {
    const { config } = this.#gateway
    const sendBufferBytesMax = config.limits.connectionSendBytes + SEND_BUFFER_SLACK_BYTES
    const { idleMs } = config.kafka
    const listening = await this.#engine.listen<KafkaConnection>({ host, port, sendBufferBytesMax, idleMs }, this)
    this.address = { host, port: listening }
  }

  /** What clients are told. */
  get advertised(): HostPort | undefined {
    return this.address === undefined ? undefined : (this.#gateway.config.kafka.advertised ?? this.address)
  }

  get unauthenticatedConnections(): number {
    return this.#unauthenticated
  }

  onConnect(remoteAddress: string): KafkaConnection | undefined {
    const { config, pool, logger } = this.#gateway
    const isOpen = config.kafka.sasl.length === 0
    const refusal = this.#isClosing
      ? 'the broker is stopping'
      : pool.size >= config.limits.connections
        ? 'too many connections'
        : !isOpen && this.#unauthenticated >= UNAUTHENTICATED_CONNECTIONS_MAX
          ? 'too many connections without authentication'
          : undefined
    if (refusal !== undefined) {
      logger.info({ address: remoteAddress, reason: refusal }, 'a Kafka connection was refused')
      return undefined
    }
    return new KafkaConnection({
      ...{ pool, principal: isOpen ? ANONYMOUS : undefined, buffers: this.#buffers, turns: this.#turns },
      onAuthenticated: (connection) => this.#onAuthenticated(connection),
      onFrame: (connection, payload) => this.#dispatcher.onFrame(connection, payload),
    })
  }

  onOpen(socket: StreamSocket<KafkaConnection>): void {
    const connection = socket.context
    connection.open(socket)
    this.#gateway.pool.add(connection)
    if (connection.isAuthenticated) return
    this.#unauthenticated++
    connection.startHelloTimer(this.#gateway.timers)
  }

  #onAuthenticated(connection: KafkaConnection): void {
    this.#unauthenticated--
    connection.stopHelloTimer()
  }

  onBytes(socket: StreamSocket<KafkaConnection>, chunk: Uint8Array): void {
    if (!socket.context.isClosed) socket.context.onBytes(chunk)
  }

  /** Silence is a reason only where nobody waits for anything. */
  isIdle(socket: StreamSocket<KafkaConnection>): boolean {
    return !socket.context.isBusy
  }

  onDrain(socket: StreamSocket<KafkaConnection>): void {
    socket.context.onDrain()
  }

  onClose(socket: StreamSocket<KafkaConnection>, { code, reason, byBroker }: SocketEnd): void {
    const connection = socket.context
    if (!this.#gateway.pool.delete(connection)) return
    if (!connection.isAuthenticated) this.#unauthenticated--
    connection.stopHelloTimer()
    connection.onClosed()
    // What it had under way is room for those that wait.
    this.#gateway.pool.wake()
    const { clientName: client, openRequests } = connection
    const fields = { client, address: socket.remoteAddress, code, reason, openRequests }
    if (byBroker && !this.#isClosing) this.#gateway.logger.info(fields, 'a Kafka connection was closed by the broker')
    else this.#gateway.logger.debug(fields, 'a Kafka connection has ended')
  }

  stopListening(): void {
    this.#isClosing = true
    this.#engine.stopListening()
  }

  async close(): Promise<void> {
    this.#isClosing = true
    await this.#engine.close()
  }
}
