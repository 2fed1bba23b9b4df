/**
 * Pages of answers that may be large: which rows are in one, in an order that lasts from page to page and over restarts.
 *
 * Rule    a page begins behind a cursor, the place of the last row before it: nothing is kept for who asks. A row that is there all
 *         the time is in exactly one page
 * Limits  PAGE_BYTES, far below a frame of the smallest reply ring, unless one row is larger; PAGE_ROWS_MAX, which bounds what is
 *         sorted. Finding a page looks at every key once: some milliseconds for the most groups that a coordinator may have
 */
import { smallestAfter as smallestKeysAfter } from '../base/smallest-after.ts'

/** As the wire has it, estimated. */
export const PAGE_BYTES = 64 * 1024
export const PAGE_ROWS_MAX = 1_000

export interface Page<Row> {
  readonly rows: readonly Row[]
  /** Null: there are no more. */
  readonly nextCursor: string | null
}

/** The PAGE_ROWS_MAX smallest of the keys that are larger than `after` and wanted, sorted. */
export function smallestAfter<Key extends string>(
  keys: Iterable<Key>,
  after: string,
  isWanted: (key: Key) => boolean = () => true,
): Key[] {
  return smallestKeysAfter(keys, { after: after as Key, countMax: PAGE_ROWS_MAX, isWanted })
}

/** As many of the rows as a page holds; there may be more when the keys are as many as a page may have. */
export function fillPage<Key, Row>(
  keys: readonly Key[],
  {
    rowOf,
    bytesOf,
    cursorOf,
  }: {
    readonly rowOf: (key: Key) => Row
    readonly bytesOf: (row: Row) => number
    readonly cursorOf: (key: Key) => string
  },
): Page<Row> {
  const rows: Row[] = []
  let bytes = 0
  for (const key of keys) {
    const row = rowOf(key)
    bytes += bytesOf(row)
    if (bytes > PAGE_BYTES && rows.length > 0) return { rows, nextCursor: cursorOf(keys[rows.length - 1]!) }
    rows.push(row)
  }
  return { rows, nextCursor: keys.length < PAGE_ROWS_MAX ? null : cursorOf(keys.at(-1)!) }
}
