/**
 * KafkaDispatcher: from a frame of a Kafka client to its handler: order of checks, and what each refusal does to the connection.
 *
 *   header readable? -> its turn (KC2)? -> api and version served? -> authenticated? -> body readable? -> room in its rings? -> handler
 *
 * Thread    main
 * Failure   what cannot be answered closes the connection, with the reason in the log, as in Kafka: no response of the protocol is only an
 *           error. A version of ApiVersions that is too new is answered in v0 (KIP-511)
 * Limits    kafka-connection.ts
 */
import { joinBytes } from '../../base/bytes.ts'
import { apiVersions } from '../../kafka/apis/18-api-versions.ts'
import { KAFKA_APIS } from '../../kafka/apis/index.ts'
import { type KafkaApi, type RequestHeader, readClientId, readRequestHeader } from '../../kafka/codec/api.ts'
import { KafkaReader } from '../../kafka/codec/reader.ts'
import { KafkaKey } from '../../kafka/keys.ts'
import { errorNumberOf } from '../../model/errors.ts'
import { SERVED_KAFKA_APIS } from './handlers/18-api-versions.ts'
import { KAFKA_HANDLERS } from './handlers/index.ts'
import { answerRawToken } from './handlers/sasl.ts'
import type { Exchange, KafkaConnection } from './kafka-connection.ts'
import { type AnyKafkaHandler, KafkaCall, type KafkaContext } from './kafka-handler.ts'

const APIS: ReadonlyMap<number, KafkaApi> = new Map(KAFKA_APIS.map((api) => [api.key, api as unknown as KafkaApi]))
const HANDLERS: ReadonlyMap<number, AnyKafkaHandler> = new Map(
  KAFKA_HANDLERS.map((handler) => [handler.api.key, handler]),
)

/** Before it has said who it is a client may ask for these alone. */
const BEFORE_AUTHENTICATION: ReadonlySet<number> = new Set([
  KafkaKey.API_VERSIONS,
  KafkaKey.SASL_HANDSHAKE,
  KafkaKey.SASL_AUTHENTICATE,
])

export class KafkaDispatcher {
  readonly #gateway: KafkaContext

  constructor(gateway: KafkaContext) {
    this.#gateway = gateway
  }

  /** The payload of a frame; false: not yet, it is to come again. */
  onFrame(connection: KafkaConnection, payload: Uint8Array): boolean {
    if (connection.sasl?.isRaw === true) return this.#rawToken(connection, payload)
    const reader = new KafkaReader(payload)
    try {
      const header = readRequestHeader(reader)
      if (!connection.mayBegin(header.key === KafkaKey.PRODUCE)) return false
      const api = APIS.get(header.key)
      if (api === undefined) return this.#close(connection, `api ${header.key} is not served`)
      if (!api.serves(header.version)) return this.#refuseVersion(connection, api, header)
      if (!connection.isAuthenticated && !BEFORE_AUTHENTICATION.has(header.key))
        return this.#close(connection, `${api.name} before authentication`)
      const clientId = readClientId(reader, header.version >= api.flexibleSince)
      if (connection.clientName === '') connection.clientName = clientId
      return this.#begin(connection, api, header, reader)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (!(error instanceof Error && error.name === 'KafkaFormatError'))
        this.#gateway.logger.error({ err: error }, 'a Kafka request failed unexpectedly')
      return this.#close(connection, reason)
    }
  }

  /** After a SaslHandshake of version 0 (its successor is a request like others). */
  #rawToken(connection: KafkaConnection, payload: Uint8Array): boolean {
    if (!connection.mayBegin(false)) return false
    const exchange = connection.begin(false)
    void answerRawToken(this.#gateway, connection, payload.slice()).then(
      (bytes) => {
        if (bytes === undefined || connection.isClosed) return
        const frame = new Uint8Array(4 + bytes.length)
        new DataView(frame.buffer).setInt32(0, bytes.length)
        frame.set(bytes, 4)
        connection.end(exchange, frame)
      },
      (err) => {
        this.#gateway.logger.error({ err }, 'a Kafka authentication failed unexpectedly')
        this.#close(connection, 'authentication failed')
      },
    )
    return true
  }

  /** False: there is no room for what it carries now; it comes again when there is. */
  #begin(connection: KafkaConnection, api: KafkaApi, header: RequestHeader, reader: KafkaReader): boolean {
    const handler = HANDLERS.get(api.key)
    if (handler === undefined) return this.#close(connection, `${api.name} is not served`)
    const { key, version, correlationId } = header
    // A request that is answered later outlives its frame, whose memory the next one may have.
    const request = api.decodeRequest(version, handler.kind === 'hot' ? reader : reader.owned())
    const call = new KafkaCall({ gateway: this.#gateway, connection, key, version, request })
    if (handler.kind === 'hot' && handler.hasRoom?.(call as KafkaCall<never>) === false) {
      connection.waitForRoom(this.#gateway.pool)
      return false
    }
    const exchange = connection.begin(key === KafkaKey.PRODUCE)
    const frameBytes = reader.bytes.length
    connection.receive(frameBytes)
    if (handler.kind === 'hot') {
      handler.start(call as KafkaCall<never>, {
        exchange,
        correlationId,
        onTaken: () => connection.complete(frameBytes),
      })
      return true
    }
    connection.openRequests++
    void this.#answer(call, exchange, handler, correlationId).finally(() => {
      connection.openRequests--
      connection.complete(frameBytes)
    })
    return true
  }

  async #answer(
    call: KafkaCall,
    exchange: Exchange,
    handler: Extract<AnyKafkaHandler, { kind: 'cold' }>,
    correlationId: number,
  ): Promise<void> {
    const { connection } = call
    const { clock, metrics, logger } = this.#gateway
    const startedMs = clock.monotonicMs()
    try {
      const response = await handler.answer(call as KafkaCall<never>)
      if (connection.isClosed) return
      const frame = handler.api.encodeResponse(call.version, correlationId, response)
      connection.end(exchange, frame.length === 1 ? frame[0]! : joinBytes(frame))
    } catch (err) {
      logger.error({ err, api: handler.api.name }, 'a Kafka request failed unexpectedly')
      this.#close(connection, `${handler.api.name} failed`)
    }
    metrics.observeRequest(`kafka-${handler.api.name}`, clock.monotonicMs() - startedMs)
  }

  #refuseVersion(connection: KafkaConnection, api: KafkaApi, { version, correlationId }: RequestHeader): boolean {
    if (api.key !== KafkaKey.API_VERSIONS)
      return this.#close(connection, `${api.name} v${version}: v${api.versionMin} to v${api.versionMax} are served`)
    const exchange = connection.begin(false)
    const apiKeys = SERVED_KAFKA_APIS.filter(({ apiKey }) => apiKey === api.key)
    const response = { errorCode: errorNumberOf('UNSUPPORTED_VERSION'), apiKeys }
    connection.end(exchange, joinBytes(apiVersions.encodeResponse(0, correlationId, response)))
    return true
  }

  #close(connection: KafkaConnection, reason: string): true {
    this.#gateway.onRefusedWithoutReply('INVALID_REQUEST')
    connection.close(CLOSE_PROTOCOL_ERROR, reason)
    return true
  }
}

/** TCP has no status: it is for the log. */
const CLOSE_PROTOCOL_ERROR = 1002
