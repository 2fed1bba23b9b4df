/** smallestAfter: the keys of one page, in an order that lasts from page to page, without sorting all there are. */

export interface PageWish<Key> {
  /** The last key of the page before. */
  readonly after: Key
  readonly countMax: number
  isWanted?(key: Key): boolean
}

/** The `countMax` smallest of the keys that are larger than `after` and wanted, sorted. Looks at every key once. */
export function smallestAfter<Key extends string | number>(
  keys: Iterable<Key>,
  { after, countMax, isWanted = () => true }: PageWish<Key>,
): Key[] {
  const kept: Key[] = []
  let largest: Key | undefined
  for (const key of keys) {
    if (key <= after || (largest !== undefined && key > largest) || !isWanted(key)) continue
    kept.push(key)
    if (kept.length < 2 * countMax) continue
    kept.sort(ascending).length = countMax
    largest = kept.at(-1)
  }
  return kept.sort(ascending).slice(0, countMax)
}

function ascending<Key extends string | number>(left: Key, right: Key): number {
  return left < right ? -1 : left > right ? 1 : 0
}
