/** KafkaHandler: what the file of a request gives the dispatcher. Two kinds, as of the native door: those answered by a promise, and the hot ones. */

import { isWildcard } from '../../base/host-port.ts'
import type { KafkaApi } from '../../kafka/codec/api.ts'
import type { Read, Write } from '../../kafka/codec/fields.ts'
import { kafkaErrorNumber, kafkaErrorOf } from '../../kafka/error-codes.ts'
import { type ErrorCode, isMillraceError, MillraceError } from '../../model/errors.ts'
import type { Logger } from '../../telemetry/logger.ts'
import { authorise, OPERATIONS, type Resource, refusalOf } from '../authorise.ts'
import type { HandlerContext } from '../handlers/handler-context.ts'
import type { RoutedTopic } from '../partition-router.ts'
import type { SaslAuthenticator } from '../sasl/sasl-authenticator.ts'
import type { Timers } from '../timers.ts'
import type { Exchange, KafkaConnection } from './kafka-connection.ts'

/** Where Kafka clients reach a broker. */
export interface KafkaBroker {
  readonly nodeId: number
  readonly host: string
  readonly port: number
  readonly rack: string | null
}

/** What handlers of this door may ask of the broker beside what those of the native one may. */
export interface KafkaContext extends HandlerContext {
  readonly logger: Logger
  readonly timers: Timers
  readonly sasl: SaslAuthenticator
  /** The brokers that are there now and have this listener. */
  kafkaBrokers(): readonly KafkaBroker[]
}

export type RequestOf<A> = A extends KafkaApi<infer Request, infer _> ? Read<Request> : never
export type ResponseOf<A> = A extends KafkaApi<infer _, infer Response> ? Write<Response> : never

/** One request, and whose it is. */
export class KafkaCall<Request = unknown> {
  readonly gateway: KafkaContext
  readonly connection: KafkaConnection
  readonly key: number
  readonly version: number
  readonly request: Request

  constructor(options: Pick<KafkaCall<Request>, 'gateway' | 'connection' | 'key' | 'version' | 'request'>) {
    this.gateway = options.gateway
    this.connection = options.connection
    this.key = options.key
    this.version = options.version
    this.request = options.request
  }

  /** Throws the first refusal(). */
  demand(...resources: readonly Resource[]): void {
    for (const resource of resources) {
      const denied = this.refusal(resource)
      if (denied !== undefined) throw new MillraceError(denied)
    }
  }

  /** A topic that the client may ask about; throws where it may not, or there is none. */
  topic(name: string): RoutedTopic {
    this.demand({ kind: 'topic', name })
    const topic = this.gateway.router.byName(name)
    if (topic === undefined)
      throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic '${name.slice(0, 249)}'`)
    return topic
  }

  /** Whether it may make the topic, which is another operation than to ask for it. */
  mayCreate(name: string): boolean {
    return authorise(this.connection.principal, 'create', { kind: 'topic', name })
  }

  /** Why the client may not do with `resource` what the request asks for; undefined = it may. */
  refusal(resource: Resource): ErrorCode | undefined {
    const row = OPERATIONS[this.key]
    const isAllowed = row !== undefined && authorise(this.connection.principal, row.operation, resource)
    return isAllowed ? undefined : refusalOf(resource)
  }

  /**
   * The brokers, as this client is told of them: where this one listens at every address and nobody says which to tell, the one that
   * the client came to.
   */
  brokers(): readonly KafkaBroker[] {
    const { gateway, connection } = this
    return gateway.kafkaBrokers().map((broker) => {
      const isSelf = broker.nodeId === gateway.identity.nodeId
      return isSelf && isWildcard(broker.host) ? { ...broker, host: connection.localAddress || broker.host } : broker
    })
  }

  /** Any broker takes administrative requests: a controller that this client cannot reach is told of as this one. */
  get controllerId(): number {
    const { controllerId, identity } = this.gateway
    return this.gateway.kafkaBrokers().some(({ nodeId }) => nodeId === controllerId) ? controllerId : identity.nodeId
  }

  /** The number that this client is told. */
  code(code: ErrorCode): number {
    return kafkaErrorNumber(code, this.key, this.version)
  }

  codeOf(errorNumber: number): number {
    return kafkaErrorOf(errorNumber, this.key, this.version)
  }

  /** What was thrown, as two fields that many responses have; throws it again where it is no answer. */
  fault(error: unknown): { readonly errorCode: number; readonly errorMessage: string } {
    if (!isMillraceError(error)) throw error
    this.gateway.metrics.countError(error.code)
    return { errorCode: this.code(error.code), errorMessage: error.message }
  }
}

export interface ColdKafkaHandler<A extends KafkaApi> {
  readonly kind: 'cold'
  readonly api: A
  /** What it throws closes the connection: there is no response that is only an error. */
  answer(call: KafkaCall<RequestOf<A>>): Promise<ResponseOf<A>> | ResponseOf<A>
}

export interface HotKafkaHandler<A extends KafkaApi> {
  readonly kind: 'hot'
  readonly api: A
  /** False: the rings that it goes to are full, it waits with its connection. Left out: it always has. */
  hasRoom?(call: KafkaCall<RequestOf<A>>): boolean
  /** Ends the exchange by itself. The request's bytes are only valid during the call. */
  start(call: KafkaCall<RequestOf<A>>, exchange: KafkaExchange): void
}

/** A request under way, as a hot handler sees it. */
export interface KafkaExchange {
  readonly exchange: Exchange
  readonly correlationId: number
  /** The frame's bytes are in the rings. */
  onTaken(): void
}

export type AnyKafkaHandler = ColdKafkaHandler<KafkaApi> | HotKafkaHandler<KafkaApi>

export function coldHandler<A extends KafkaApi>(api: A, answer: ColdKafkaHandler<A>['answer']): AnyKafkaHandler {
  return { kind: 'cold', api, answer } as unknown as AnyKafkaHandler
}

export function hotHandler<A extends KafkaApi>(
  api: A,
  start: HotKafkaHandler<A>['start'],
  hasRoom?: HotKafkaHandler<A>['hasRoom'],
): AnyKafkaHandler {
  return { kind: 'hot', api, start, ...(hasRoom && { hasRoom }) } as unknown as AnyKafkaHandler
}
