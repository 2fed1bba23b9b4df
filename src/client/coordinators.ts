/**
 * Coordinators: which broker coordinates a group or a transactional id, found by asking any broker, and the connection to it.
 *
 * Owns        what was answered, by id; it counts as long as the connection to that broker is open, and no error says otherwise
 * Ordering    callers that look for the same id at once share the question
 * Limits      COORDINATORS_MAX ids are remembered, the oldest go first
 * Failure     one attempt a call: the caller tries again with a backoff of its own, and failed() makes the next call look again,
 *             of another broker where there is one. A broker that does not serve find-coordinator is the only one there is: it is asked
 */
import { type ErrorCode, errorCodeOf, errorNumberOf, MillraceError } from '../model/errors.ts'
import { Api, type CoordinatorKind, errorOf, findCoordinator } from '../protocol/index.ts'
import type { Connection } from '../transport/connection.ts'
import { abortable } from './abort.ts'
import { asMillraceError } from './as-millrace-error.ts'
import { type BrokerConnections, PATIENCE_MS, type WaitOptions } from './broker-connections.ts'

const COORDINATORS_MAX = 10_000
/** After these somebody else may coordinate the id, or the same one on a new connection. */
const MOVED_CODES: readonly ErrorCode[] = [
  'NOT_COORDINATOR',
  'COORDINATOR_NOT_AVAILABLE',
  'COORDINATOR_LOAD_IN_PROGRESS',
  'NETWORK_EXCEPTION',
  'CONNECTION_FAILED',
  'REQUEST_TIMED_OUT',
]

/** Whether the error may mean that another broker is to be asked. */
export function hasMoved(code: ErrorCode): boolean {
  return MOVED_CODES.includes(code)
}

/** Whose coordinator is meant. */
export interface CoordinatedId {
  readonly kind: CoordinatorKind
  readonly id: string
}

interface Place {
  /** Undefined = it is to be looked for. */
  nodeId: number | undefined
  /** Who said so. */
  askedUrl: string
  /** Who was wrong, or knew of none: others are asked rather than these. */
  readonly wrong: Map<string, number>
}

const NO_ROW = { errorNumber: errorNumberOf('COORDINATOR_NOT_AVAILABLE'), errorText: '', nodeId: -1, url: '' }

export class Coordinators {
  readonly #connections: BrokerConnections
  readonly #places = new Map<string, Place>()
  #wrongCount = 0
  readonly #looking = new Map<string, Promise<Connection>>()

  constructor(connections: BrokerConnections) {
    this.#connections = connections
  }

  /** A connection to the broker that coordinates the id. Throws COORDINATOR_NOT_AVAILABLE, CONNECTION_FAILED, … */
  connection(of: CoordinatedId, wait: WaitOptions = {}): Promise<Connection> {
    const key = keyOf(of)
    const nodeId = this.#places.get(key)?.nodeId
    const open = nodeId === undefined ? undefined : this.#connections.openTo(nodeId)
    if (open !== undefined) return Promise.resolve(open)
    let looking = this.#looking.get(key)
    if (looking === undefined) {
      looking = this.#look(of, key, wait.deadlineMs).finally(() => this.#looking.delete(key))
      this.#looking.set(key, looking)
    }
    return abortable(looking, wait.signal)
  }

  /** A request to the coordinator has failed: after some errors it is looked for again. */
  failed(of: CoordinatedId, error: MillraceError): void {
    const place = this.#places.get(keyOf(of))
    if (place === undefined || !hasMoved(error.code)) return
    place.nodeId = undefined
    if (error.code === 'NOT_COORDINATOR') this.#wasWrong(place)
  }

  /** Runs `listener` when a broker has something new for a member; the answer stops that. */
  onGroupChanged(memberId: string, listener: () => void): () => void {
    return this.#connections.onGroupChanged(memberId, listener)
  }

  /** Where brokers may be: for whoever looks for coordinators by itself. */
  get urls(): readonly string[] {
    return this.#connections.urls
  }

  async #look({ kind, id }: CoordinatedId, key: string, deadlineMs: number | undefined): Promise<Connection> {
    const place = this.#place(key)
    const deadline = deadlineMs === undefined ? {} : { deadlineMs }
    const asked = await this.#connections.any({ ...deadline, avoid: place.wrong })
    if (!asked.serves(Api.FIND_COORDINATOR)) return asked
    place.askedUrl = asked.url
    const { coordinators } = (await asked.call(findCoordinator, { kind, ids: [id] }).catch(notSent)).value
    const row = coordinators[0] ?? NO_ROW
    if (errorCodeOf(row.errorNumber) !== 'NONE') {
      this.#wasWrong(place)
      throw errorOf(row.errorNumber, row.errorText)
    }
    place.nodeId = row.nodeId
    this.#connections.learnNode(row.nodeId, row.url)
    try {
      return await this.#connections.node(row.nodeId, { patienceMs: PATIENCE_MS })
    } catch (error) {
      this.#wasWrong(place)
      throw error
    }
  }

  #wasWrong({ wrong, askedUrl }: Place): void {
    wrong.set(askedUrl, ++this.#wrongCount)
  }

  #place(key: string): Place {
    let place = this.#places.get(key)
    if (place === undefined) {
      place = { nodeId: undefined, askedUrl: '', wrong: new Map() }
      this.#places.set(key, place)
      for (const oldest of this.#places.keys()) {
        if (this.#places.size <= COORDINATORS_MAX) break
        this.#places.delete(oldest)
      }
    }
    return place
  }
}

/** What was to be asked of the coordinator has not left: nothing is in doubt. */
function notSent(error: unknown): never {
  const { code, message } = asMillraceError(error)
  if (code !== 'NETWORK_EXCEPTION' && code !== 'REQUEST_TIMED_OUT') throw error
  throw new MillraceError('CONNECTION_FAILED', message, { cause: error })
}

function keyOf({ kind, id }: CoordinatedId): string {
  return `${kind}/${id}`
}
