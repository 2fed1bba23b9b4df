/** Names of the files in state/: `<incarnation>-<shard>.<kind>` of one shard, `<incarnation>.recovered` of a recovery. */

export type StateFileKind = 'checkpoint' | 'catalogue' | 'synced' | 'journal' | 'recovered'

export interface StateFileName {
  readonly name: string
  readonly kind: StateFileKind
  readonly incarnation: number
  /** -1 for `recovered`. */
  readonly shard: number
  /** Of a journal: 0 or 1; else 0. */
  readonly half: number
}

export function checkpointName(incarnation: number, shard: number): string {
  return `${incarnation}-${shard}.checkpoint`
}

export function catalogueName(incarnation: number, shard: number): string {
  return `${incarnation}-${shard}.catalogue`
}

export function syncedEndsName(incarnation: number, shard: number): string {
  return `${incarnation}-${shard}.synced`
}

export function journalName(incarnation: number, shard: number, half: number): string {
  return `${incarnation}-${shard}.journal-${half}`
}

export function recoveredName(incarnation: number): string {
  return `${incarnation}.recovered`
}

const SHARD_FILE = /^([1-9][0-9]{0,12})-(0|[1-9][0-9]{0,3})\.(checkpoint|catalogue|synced|journal-[01])$/
const RECOVERED_FILE = /^([1-9][0-9]{0,12})\.recovered$/

/** Undefined for a name that is none of these: it is left alone. */
export function parseStateFileName(name: string): StateFileName | undefined {
  const recovered = RECOVERED_FILE.exec(name)
  if (recovered !== null) return { name, kind: 'recovered', incarnation: Number(recovered[1]), shard: -1, half: 0 }
  const match = SHARD_FILE.exec(name)
  if (match === null) return undefined
  const kind = match[3]!
  const isJournal = kind.startsWith('journal')
  return {
    name,
    kind: isJournal ? 'journal' : (kind as StateFileKind),
    incarnation: Number(match[1]),
    shard: Number(match[2]),
    half: isJournal ? Number(kind.at(-1)) : 0,
  }
}
