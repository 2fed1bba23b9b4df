/**
 * HttpApi: what the listener's port says over HTTP: health, metrics, and topics for people with curl.
 *
 * | method | path                  | answer |
 * | GET    | /livez                | 200: the event loop turns |
 * | GET    | /readyz               | 200 or 503, reasons in JSON |
 * | GET    | /metrics              | Prometheus text |
 * | GET    | /api/v1/cluster       | brokers, shards, counts |
 * | GET    | /api/v1/topics        | names, ids, partitions; ?internal=true: the broker's own too |
 * | GET    | /api/v1/topics/NAME   | a topic with its partitions |
 * | POST   | /api/v1/topics        | creates: {"name", "partitions"?, "replicas"?, "config"?, "ifNotExists"?} |
 * | DELETE | /api/v1/topics/NAME   | deletes |
 * |        | /api/v1/groups…       | http-groups.ts |
 *
 * Security  the same tokens as the WebSocket (health needs none), the same authorisation table; browsers' Origins are refused unless
 *           listed, and a body must be application/json, so that no page can post a form at a broker on loopback
 */
import { utf8DecodeStrict } from '../base/bytes.ts'
import { CLUSTER_KEY } from '../coordination/keys.ts'
import type { MetadataStore } from '../coordination/metadata-store.ts'
import { ERRORS, type ErrorCode, isMillraceError, MillraceError } from '../model/errors.ts'
import { isInternalTopic } from '../model/internal-topics.ts'
import { Api } from '../protocol/index.ts'
import type { Logger } from '../telemetry/logger.ts'
import { Authenticator } from './authenticate.ts'
import { authorise, CLUSTER, OPERATIONS, type Resource, refusalOf } from './authorise.ts'
import type { HandlerContext } from './handlers/handler-context.ts'
import { deleteGroup, describeGroup, groupMetricsText, listGroups } from './http-groups.ts'
import type { HttpReply, HttpRequest } from './listeners/web-socket-engine.ts'
import type { RoutedTopic } from './partition-router.ts'
import { readinessFaults } from './readiness.ts'

const TOPICS_PATH = '/api/v1/topics'
const GROUPS_PATH = '/api/v1/groups'
const JSON_TYPE = 'application/json; charset=utf-8'

const STATUS_OF: Partial<Record<ErrorCode, number>> = {
  UNKNOWN_TOPIC_OR_PARTITION: 404,
  RESOURCE_NOT_FOUND: 404,
  GROUP_ID_NOT_FOUND: 404,
  NON_EMPTY_GROUP: 409,
  GROUP_AUTHORIZATION_FAILED: 403,
  COORDINATOR_NOT_AVAILABLE: 503,
  COORDINATOR_LOAD_IN_PROGRESS: 503,
  TOPIC_ALREADY_EXISTS: 409,
  SASL_AUTHENTICATION_FAILED: 401,
  TOPIC_AUTHORIZATION_FAILED: 403,
  CLUSTER_AUTHORIZATION_FAILED: 403,
  INVALID_UPDATE_VERSION: 409,
  BROKER_NOT_AVAILABLE: 503,
  UNKNOWN_SERVER_ERROR: 500,
}

/** What the HTTP side needs of the broker beside what handlers ask for. */
export interface HttpApiContext extends HandlerContext {
  readonly authenticator: Authenticator
  readonly store: MetadataStore
  readonly logger: Logger
  readonly notReady: ReadonlySet<string>
  refreshStats(): Promise<void>
}

export class HttpApi {
  readonly #gateway: HttpApiContext

  constructor(gateway: HttpApiContext) {
    this.#gateway = gateway
  }

  async answer(request: HttpRequest): Promise<HttpReply> {
    try {
      if (!this.#gateway.authenticator.isOriginAllowed(request.origin))
        return json(403, { error: { code: 'ORIGIN', text: 'this Origin is not listed in auth.origins' } })
      return await this.#route(request)
    } catch (error) {
      if (!isMillraceError(error)) {
        this.#gateway.logger.error({ err: error, path: request.path }, 'an HTTP request failed unexpectedly')
        return failure('UNKNOWN_SERVER_ERROR', ERRORS.UNKNOWN_SERVER_ERROR.text)
      }
      return failure(error.code, error.message)
    }
  }

  async #route(request: HttpRequest): Promise<HttpReply> {
    const method = request.method === 'HEAD' ? 'GET' : request.method
    switch (`${method} ${request.path}`) {
      case 'GET /livez':
        return json(200, { status: 'alive' })
      case 'GET /readyz':
        return this.#readyz()
      case 'GET /metrics':
        this.#check(request, Api.DESCRIBE_CLUSTER, CLUSTER)
        return this.#metrics(new URLSearchParams(request.query).get('detail') === 'groups')
      case 'GET /api/v1/cluster':
        this.#check(request, Api.DESCRIBE_CLUSTER, CLUSTER)
        return json(200, await this.#gateway.describeCluster())
      case `GET ${TOPICS_PATH}`:
        this.#check(request, Api.METADATA, CLUSTER)
        return json(200, { topics: this.#topics(request.query) })
      case `POST ${TOPICS_PATH}`:
        return this.#create(request)
    }
    if (request.path.startsWith(`${TOPICS_PATH}/`)) return this.#topic(request, method)
    if (request.path === GROUPS_PATH || request.path.startsWith(`${GROUPS_PATH}/`)) return this.#group(request, method)
    if (request.path === '/')
      return json(426, { error: { code: 'UPGRADE_REQUIRED', text: 'this is Millrace: speak WebSocket, millrace.v1' } })
    return json(404, { error: { code: 'NOT_FOUND', text: `there is no ${request.path.slice(0, 200)}` } })
  }

  #topics(query: string) {
    const withInternal = new URLSearchParams(query).get('internal') === 'true'
    return [...this.#gateway.router.topics()]
      .filter((topic) => withInternal || !isInternalTopic(topic.record.state.name))
      .map(summaryOf)
  }

  async #topic(request: HttpRequest, method: string): Promise<HttpReply> {
    const name = decodeName(request.path.slice(TOPICS_PATH.length + 1))
    const resource: Resource = { kind: 'topic', name }
    if (method === 'DELETE') {
      this.#check(request, Api.DELETE_TOPIC, resource)
      await this.#gateway.topicService.delete(name)
      return { status: 204, contentType: JSON_TYPE, body: '' }
    }
    if (method !== 'GET') return json(405, { error: { code: 'METHOD', text: 'GET and DELETE are served here' } })
    this.#check(request, Api.METADATA, resource)
    const topic = this.#gateway.router.byName(name)
    if (topic === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic '${name}'`)
    return json(200, {
      ...summaryOf(topic),
      partitionList: topic.partitions.map(
        ({ partition, shard, leaderNodeId, leaderEpoch, replicas, inSync, state, reason }) => ({
          ...{ partition, leader: leaderNodeId, leaderEpoch, replicas, inSync },
          // Where it lies here.
          ...{ shard, state, reason },
        }),
      ),
    })
  }

  async #group(request: HttpRequest, method: string): Promise<HttpReply> {
    const groupId = decodeName(request.path.slice(GROUPS_PATH.length + 1))
    if (groupId === '') {
      if (method !== 'GET') return json(405, { error: { code: 'METHOD', text: 'GET is served here' } })
      this.#check(request, Api.LIST_GROUPS, CLUSTER)
      return json(200, { groups: await listGroups(this.#gateway) })
    }
    const resource: Resource = { kind: 'group', groupId }
    if (method === 'DELETE') {
      this.#check(request, Api.DELETE_GROUPS, resource)
      await deleteGroup(this.#gateway, groupId)
      return { status: 204, contentType: JSON_TYPE, body: '' }
    }
    if (method !== 'GET') return json(405, { error: { code: 'METHOD', text: 'GET and DELETE are served here' } })
    this.#check(request, Api.GROUP_DESCRIBE, resource)
    return json(200, await describeGroup(this.#gateway, groupId))
  }

  async #create(request: HttpRequest): Promise<HttpReply> {
    const body = parseBody(request)
    const { name, partitions = -1, replicas = -1, config = {}, ifNotExists = false } = body
    if (typeof name !== 'string') throw invalid('name: a text is expected')
    if (!Number.isSafeInteger(partitions)) throw invalid('partitions: an integer is expected')
    if (!Number.isSafeInteger(replicas)) throw invalid('replicas: an integer is expected')
    if (typeof ifNotExists !== 'boolean') throw invalid('ifNotExists: true or false is expected')
    this.#check(request, Api.CREATE_TOPIC, { kind: 'topic', name })
    const wish = {
      name,
      partitions: Number(partitions),
      replicas: Number(replicas),
      config: texts(config),
      ifNotExists,
    }
    const result = await this.#gateway.topicService.create(wish, false)
    return json(result.created ? 201 : 200, result)
  }

  /** The same gate as every frame's. */
  #check(request: HttpRequest, api: number, resource: Resource): void {
    const principal = this.#gateway.authenticator.principalOf(Authenticator.tokenOf(request.authorization))
    if (principal === undefined) throw new MillraceError('SASL_AUTHENTICATION_FAILED', 'a valid Bearer token is needed')
    if (!authorise(principal, OPERATIONS[api]!.operation, resource)) throw new MillraceError(refusalOf(resource))
  }

  async #readyz(): Promise<HttpReply> {
    const { notReady, links, cluster } = this.#gateway
    const reasons = readinessFaults({
      ...{ notReady, shards: links, storeFault: cluster === undefined ? await this.#storeFault() : undefined },
      cluster: cluster && {
        isRegistered: cluster.registration.isRegistered,
        controllerNodeId: cluster.controllerNodeId,
      },
    })
    return json(reasons.length === 0 ? 200 : 503, { ready: reasons.length === 0, reasons })
  }

  async #storeFault(): Promise<string | undefined> {
    try {
      await this.#gateway.store.get(CLUSTER_KEY)
      return undefined
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }

  async #metrics(withGroups: boolean): Promise<HttpReply> {
    await this.#gateway.refreshStats()
    const { metrics } = this.#gateway
    return {
      status: 200,
      contentType: metrics.contentType,
      body: (await metrics.text()) + (withGroups ? await groupMetricsText(this.#gateway) : ''),
    }
  }
}

function summaryOf(topic: RoutedTopic) {
  const { name, replicas, config, createdMs } = topic.record.state
  const { topicId } = topic.record
  const offline = topic.partitions.filter((partition) => partition.state === 'offline').length
  return { name, topicId, partitions: topic.partitions.length, replicas, offlinePartitions: offline, config, createdMs }
}

function parseBody(request: HttpRequest): Record<string, unknown> {
  if (!/^application\/json\b/i.test(request.contentType)) throw invalid('Content-Type: application/json is expected')
  try {
    const value: unknown = JSON.parse(utf8DecodeStrict(request.body) ?? '')
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // Said below.
  }
  throw invalid('the body is not a JSON object')
}

function texts(config: unknown): Record<string, string> {
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw invalid('config: an object is expected')
  return Object.fromEntries(Object.entries(config).map(([key, value]) => [key, String(value)]))
}

function decodeName(encoded: string): string {
  try {
    return decodeURIComponent(encoded)
  } catch {
    throw invalid('the topic name is not well encoded')
  }
}

function invalid(text: string): MillraceError {
  return new MillraceError('INVALID_REQUEST', text)
}

function failure(code: ErrorCode, text: string): HttpReply {
  return json(STATUS_OF[code] ?? 400, { error: { code, text } })
}

function json(status: number, value: unknown): HttpReply {
  return { status, contentType: JSON_TYPE, body: `${JSON.stringify(value)}\n` }
}
