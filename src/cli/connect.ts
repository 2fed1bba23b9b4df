/** How commands reach a broker: connected for as long as the command runs, with errors that say what to do. */

import { nearest } from '../base/nearest.ts'
import { type Client, connect } from '../client/index.ts'
import { isMillraceError, MillraceError } from '../model/errors.ts'
import type { Terminal } from './terminal.ts'

const CONNECT_TIMEOUT_MS = 5_000

/** Runs `body` with a connected client, closed afterwards. */
export async function withClient(terminal: Terminal, body: (client: Client) => Promise<void>): Promise<void> {
  const client = await open(terminal)
  try {
    await body(client)
  } catch (error) {
    throw await withSuggestion(client, error, terminal.signal)
  } finally {
    await client.close({ signal: terminal.signal })
  }
}

async function open(terminal: Terminal): Promise<Client> {
  const { server, token, signal } = terminal
  try {
    const client = await connect(server, {
      clientName: 'millrace-cli',
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      signal,
      ...(token === undefined ? {} : { token }),
    })
    if (terminal.isVerbose) {
      const broker = await client.broker({ signal })
      terminal.explain(`connected to ${broker.url}: millrace ${broker.version}, node ${broker.nodeId}`)
    }
    return client
  } catch (error) {
    throw withAdvice(error, terminal)
  }
}

const NO_BROKER = "'millrace start' runs a broker on this machine; -s URL or MILLRACE_SERVER names another"

/** What of a connection that fails is the network's jargon, in plain words. */
const PLAIN: readonly (readonly [RegExp, string])[] = [
  [/connect ECONNREFUSED \S+/, 'connection refused'],
  [/getaddrinfo (?:ENOTFOUND|EAI_AGAIN) (\S+)/, "the name '$1' leads to no address"],
  [/connect (?:EHOSTUNREACH|ENETUNREACH) \S+.*$/, 'there is no way to that address'],
  [/connect ETIMEDOUT \S+/, 'no answer'],
  [/the server refused the WebSocket upgrade with (HTTP \d+).*/, 'what answers there ($1) is no broker of Millrace'],
]

function withAdvice(error: unknown, { server, token }: Terminal): unknown {
  if (!isMillraceError(error)) return error
  if (error.code === 'SASL_AUTHENTICATION_FAILED') {
    const text =
      token === undefined
        ? `${server} asks for a token: give one of its auth.tokens with --token or MILLRACE_TOKEN`
        : `${server} refuses the token: it is none of its auth.tokens`
    return new MillraceError(error.code, text, { cause: error })
  }
  if (error.code !== 'CONNECTION_FAILED') return error
  const reason = PLAIN.reduce((text, [jargon, plain]) => text.replace(jargon, plain), error.message)
  return new MillraceError(error.code, `no broker answers: ${reason}; ${NO_BROKER}`, { cause: error })
}

/** Adds the nearest topic name to the error of an unknown one. */
async function withSuggestion(client: Client, error: unknown, signal: AbortSignal): Promise<unknown> {
  if (!isMillraceError(error) || error.code !== 'UNKNOWN_TOPIC_OR_PARTITION') return error
  const name = /'([^']+)'/.exec(error.message)?.[1]
  if (name === undefined) return error
  const topics = await client.admin.topics.list({ signal }).catch(() => [])
  const near = nearest(
    name,
    topics.map((topic) => topic.name),
  )
  const hint = near === undefined ? 'millrace topic list shows what there is' : `did you mean '${near}'?`
  return new MillraceError(error.code, `there is no topic '${name}'; ${hint}`, { cause: error })
}
