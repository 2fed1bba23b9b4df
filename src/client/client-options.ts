/** Options of connect(), their defaults and their checks. Every number has its unit in its name. */
import { kindOf } from '../base/bytes.ts'
import { MillraceError } from '../model/errors.ts'
import { VERSION } from '../model/version.ts'
import { SILENCE_MS_MAX } from '../transport/connection.ts'

/** Milliseconds, or text with its unit: 250, '250ms', '5s', '2m', '1h', '14d'. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

export const CLIENT_PROFILE_NAMES = ['balanced', 'throughput', 'latency'] as const
export type ClientProfileName = (typeof CLIENT_PROFILE_NAMES)[number]

export interface ClientOptions {
  /** Sent with every connection, for a broker that asks for one. */
  readonly token?: string
  /** How the broker's logs name this client. */
  readonly clientName?: string
  /**
   * What producers and consumers that say nothing else are tuned for; as the broker's profile of that name, and like that one it
   * changes speed and memory, never safety. Default 'balanced': their own defaults.
   */
  readonly profile?: ClientProfileName
  /** One connection attempt, hello included. Default 10,000. */
  readonly connectTimeoutMs?: Duration
  /** How long connect() keeps trying when no broker answers. Default 0: every URL once. */
  readonly connectWaitMs?: Duration
  /** A request without a reply for so long ends its connection. Default 30,000. */
  readonly requestTimeoutMs?: Duration
  /**
   * A broker that owes answers and says nothing at all for so long, not even that it lives, is taken for gone: another one may have
   * its work by then. Default 5,000.
   */
  readonly silenceMsMax?: Duration
  /** First and largest delay between attempts. Defaults 50 and 2,000. */
  readonly backoffMsMin?: Duration
  readonly backoffMsMax?: Duration
  /** Gives connect() up. */
  readonly signal?: AbortSignal
}

export interface ResolvedClientOptions {
  readonly token: string | undefined
  readonly clientName: string
  readonly profile: ClientProfileName
  readonly connectTimeoutMs: number
  readonly connectWaitMs: number
  readonly requestTimeoutMs: number
  readonly silenceMsMax: number
  readonly backoffMsMin: number
  readonly backoffMsMax: number
}

export const CLIENT_VERSION = VERSION

export function resolveClientOptions(options: ClientOptions): ResolvedClientOptions {
  return {
    token: options.token,
    clientName: options.clientName ?? 'millrace-client',
    profile: checkedChoice('profile', options.profile ?? 'balanced', CLIENT_PROFILE_NAMES),
    connectTimeoutMs: checkedDuration('connectTimeoutMs', options.connectTimeoutMs ?? 10_000, 1, 600_000),
    connectWaitMs: checkedDuration('connectWaitMs', options.connectWaitMs ?? 0, 0, Number.MAX_SAFE_INTEGER),
    requestTimeoutMs: checkedDuration('requestTimeoutMs', options.requestTimeoutMs ?? 30_000, 1, 600_000),
    silenceMsMax: checkedDuration('silenceMsMax', options.silenceMsMax ?? SILENCE_MS_MAX, 100, 600_000),
    backoffMsMin: checkedDuration('backoffMsMin', options.backoffMsMin ?? 50, 1, 600_000),
    backoffMsMax: checkedDuration('backoffMsMax', options.backoffMsMax ?? 2_000, 1, 600_000),
  }
}

/** `value` if it is an integer in [min, max], else INVALID_ARGUMENT that names the option. */
export function checkedInteger(name: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value
  const most = max === Number.MAX_SAFE_INTEGER ? '' : ` and at most ${max}`
  throw new MillraceError(
    'INVALID_ARGUMENT',
    `${name}: expected an integer of at least ${min}${most}, not ${String(value)}`,
  )
}

/** Milliseconds of a unit. */
export const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds of a duration in [min, max], else INVALID_ARGUMENT that names the option. */
export function checkedDuration(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'string') return checkedInteger(name, value, min, max)
  const span = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)$/.exec(value)
  if (span === null)
    throw new MillraceError(
      'INVALID_ARGUMENT',
      `${name}: expected milliseconds, or a duration such as 250ms, 5s, 2m, 1h or 14d, not '${value}'`,
    )
  return checkedInteger(name, Number(span[1]) * UNIT_MS[span[2]!]!, min, max)
}

/** `value` if it is one of the choices, else INVALID_ARGUMENT that names the option. */
export function checkedChoice<T extends string>(name: string, value: unknown, choices: readonly T[]): T {
  if ((choices as readonly unknown[]).includes(value)) return value as T
  throw new MillraceError('INVALID_ARGUMENT', `${name}: expected one of ${choices.join(', ')}, not '${String(value)}'`)
}

/** URLs of brokers, checked, each once; `host:port` stands for `ws://host:port`. */
export function checkedUrls(urls: string | readonly string[]): string[] {
  if (typeof urls !== 'string' && !Array.isArray(urls))
    throw new MillraceError(
      'INVALID_ARGUMENT',
      `connect() takes the URL of a broker, a list of them, or a broker in this process, not ${kindOf(urls)}`,
    )
  const list: unknown[] = typeof urls === 'string' ? urls.split(',').map((url) => url.trim()) : [...urls]
  if (list.length === 0) throw new MillraceError('INVALID_ARGUMENT', 'connect() needs at least one URL')
  const checked = list.map((text) => {
    const url = typeof text !== 'string' ? undefined : parsedUrl(/^[a-z]+:\/\//i.test(text) ? text : `ws://${text}`)
    if (url === undefined || (url.protocol !== 'ws:' && url.protocol !== 'wss:') || url.hostname === '')
      throw new MillraceError(
        'INVALID_ARGUMENT',
        `'${String(text)}' is not the URL of a broker, such as ws://127.0.0.1:7171`,
      )
    return url.href.replace(/\/$/, '')
  })
  return [...new Set(checked)]
}

function parsedUrl(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}
