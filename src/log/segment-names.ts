/** The names of a segment's files. */

/** Suffix of what is to be removed: nobody reads it, recovery removes it. */
export const DELETED_SUFFIX = '.deleted'

export type SegmentSuffix = '.log' | '.index' | '.timeindex' | '.txnindex'
export const SEGMENT_SUFFIXES: readonly SegmentSuffix[] = ['.log', '.index', '.timeindex', '.txnindex']

/** `00000000000000000000.log` */
export function segmentFileName(baseOffset: number, suffix: SegmentSuffix): string {
  return String(baseOffset).padStart(20, '0') + suffix
}

/** Base offset and suffix of a segment's file name; undefined for any other name. */
export function parseSegmentFileName(name: string): { baseOffset: number; suffix: SegmentSuffix } | undefined {
  const match = /^(\d{20})(\.log|\.index|\.timeindex|\.txnindex)$/.exec(name)
  if (match === null) return undefined
  const baseOffset = Number(match[1])
  return Number.isSafeInteger(baseOffset) ? { baseOffset, suffix: match[2] as SegmentSuffix } : undefined
}
