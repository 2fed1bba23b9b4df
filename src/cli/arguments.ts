/** Reads operands and flags: every fault is a UsageError that names the flag and what it expects. */
import { systemClock } from '../base/node/system-clock.ts'
import { isMillraceError, type Position } from '../client/index.ts'
import { timeOf } from '../client/positions.ts'
import { UsageError } from './errors.ts'

export function integerOf(flag: string, text: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
  const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value
  const bound = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
  throw new UsageError(`${flag}: expected an integer ${bound}, not '${text}'`)
}

export function partitionsOf(flag: string, text: string): number[] {
  return text.split(',').map((part) => integerOf(flag, part.trim(), 0))
}

/** `start`, `end`, `N`, `-N`, `+N`, `@T`. */
export function positionOf(flag: string, text: string): Position {
  if (text === 'start' || text === 'end') return text
  if (text.startsWith('@') && text.length > 1) return { time: timeAt(flag, text.slice(1)) }
  if (/^-\d+$/.test(text)) return { last: integerOf(flag, text.slice(1), 0) }
  if (/^\+\d+$/.test(text)) return { skip: integerOf(flag, text.slice(1), 0) }
  if (/^\d+$/.test(text)) return { offset: integerOf(flag, text, 0) }
  throw new UsageError(
    `${flag}: expected start, end, N, -N (last N), +N (N after the start) or @TIME (ms, ISO date, -1h), not '${text}'`,
  )
}

/** Milliseconds since the epoch; the span of `-1h` is counted from now, once for all that the command reads. */
function timeAt(flag: string, text: string): number {
  try {
    return timeOf(text, systemClock)
  } catch (error) {
    if (!isMillraceError(error)) throw error
    throw new UsageError(`${flag}: ${error.message}`)
  }
}

/** `key=value` pairs; the value may be empty and may hold '='. */
export function pairsOf(flag: string, texts: readonly string[] | undefined): Record<string, string> {
  const pairs: Record<string, string> = {}
  for (const text of texts ?? []) {
    const at = text.indexOf('=')
    if (at < 1) throw new UsageError(`${flag}: expected key=value, not '${text}'`)
    pairs[text.slice(0, at)] = text.slice(at + 1)
  }
  return pairs
}

/** `name:value` headers. */
export function headersOf(flag: string, texts: readonly string[] | undefined): { key: string; value: string }[] {
  return (texts ?? []).map((text) => {
    const at = text.indexOf(':')
    if (at < 1) throw new UsageError(`${flag}: expected name:value, not '${text}'`)
    return { key: text.slice(0, at), value: text.slice(at + 1) }
  })
}
