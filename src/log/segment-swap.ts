/**
 * The names and steps by which rewritten segments take the place of those they were made from (R4), and what a start does about a
 * swap that a crash interrupted. compaction.md, "The swap", has the order and why.
 *
 *   <base>.log.cleaned        being written, or written and not wanted yet: nobody reads it, recovery removes it
 *   <base>-<next>.swap        whole and synced: it stands for every segment that begins within [base, next), whatever is left of them
 *   <base>.log                in place
 *
 * Invariants  SW1 a .swap is synced before it has its name; the folder is synced before one of the segments it stands for goes
 *             SW2 at each step of either side the folder holds the old segments or the new one   checked in: test/crash/compaction.test.ts
 * Failure     a .swap that is not sound (the device lost what it said was synced) is not believed: it goes while all that it stands
 *             for is there; else it stays, and recovery says what is missing
 */
import type { FileSystem } from '../io/file-system.ts'
import { BatchWalk, type WalkStep } from './batch-walk.ts'
import { removeIfPresent } from './durable-file.ts'
import { parseSegmentFileName, SEGMENT_SUFFIXES, type SegmentSuffix, segmentFileName } from './segment.ts'
import type { SyncList } from './sync-list.ts'

/** Suffix of what a compaction is writing. */
export const CLEANED_SUFFIX = '.cleaned'

/** Offsets of a segment that replaces others: [baseOffset, nextOffset). */
export interface SwapSpan {
  readonly baseOffset: number
  readonly nextOffset: number
}

export function cleanedFileName(baseOffset: number, suffix: SegmentSuffix): string {
  return segmentFileName(baseOffset, suffix) + CLEANED_SUFFIX
}

export function swapFileName(span: SwapSpan): string {
  const text = (offset: number): string => String(offset).padStart(20, '0')
  return `${text(span.baseOffset)}-${text(span.nextOffset)}.swap`
}

export function parseSwapFileName(name: string): SwapSpan | undefined {
  const match = /^(\d{20})-(\d{20})\.swap$/.exec(name)
  if (match === null) return undefined
  const span = { baseOffset: Number(match[1]), nextOffset: Number(match[2]) }
  return Number.isSafeInteger(span.nextOffset) && span.nextOffset > span.baseOffset ? span : undefined
}

/** Step 2: what was written and synced stands for the old segments from now on. The folder is to be synced. */
export function renameToSwap(files: FileSystem, folder: string, span: SwapSpan): void {
  files.rename(`${folder}/${cleanedFileName(span.baseOffset, '.log')}`, `${folder}/${swapFileName(span)}`)
}

/** Step 4, behind the removal of the old segments: the new one, and its indexes, under their own names. The folder is to be synced. */
export function renameIntoPlace(files: FileSystem, folder: string, span: SwapSpan): void {
  const { baseOffset } = span
  files.rename(`${folder}/${swapFileName(span)}`, `${folder}/${segmentFileName(baseOffset, '.log')}`)
  for (const suffix of SEGMENT_SUFFIXES) {
    const cleaned = `${folder}/${cleanedFileName(baseOffset, suffix)}`
    if (files.stat(cleaned).kind === 'file') files.rename(cleaned, `${folder}/${segmentFileName(baseOffset, suffix)}`)
  }
}

/** Takes back what step 2 has not made a swap of yet. */
export function removeCleaned(files: FileSystem, folder: string, baseOffset: number): void {
  for (const suffix of SEGMENT_SUFFIXES) removeIfPresent(files, `${folder}/${cleanedFileName(baseOffset, suffix)}`)
}

/** Takes back a swap whose segments are all still there, or not wanted either. */
export function removeSwap(files: FileSystem, folder: string, span: SwapSpan): void {
  removeIfPresent(files, `${folder}/${swapFileName(span)}`)
  removeCleaned(files, folder, span.baseOffset)
}

/**
 * Recovery, before it looks at the log: finishes every swap of the folder that was begun. May be run again after a crash in its middle.
 */
export function finishSwaps(
  files: FileSystem,
  folder: string,
  options: { readonly notes: string[]; readonly syncs: SyncList },
): void {
  const names = files.list(folder)
  const spans = names.map(parseSwapFileName).filter((span) => span !== undefined)
  // After a kill the name may be one that only the system's memory has: a power cut would take it back, and not what is removed here.
  if (spans.length > 0) files.syncFolder(folder)
  // A later run's swap covers more: it comes last and wins.
  spans.sort((left, right) => left.nextOffset - left.baseOffset - (right.nextOffset - right.baseOffset))
  for (const span of spans) {
    const fault = faultOf(files, folder, span)
    const name = swapFileName(span)
    if (fault === undefined) {
      finishSwap(files, folder, span, names)
      options.notes.push(`${name}: finished the swap that was begun`)
    } else if (coversItself(files, folder, span)) {
      files.remove(`${folder}/${name}`)
      options.notes.push(`${name} is not sound, ${fault}: the segments it was made from stay`)
    } else options.notes.push(`${name} is not sound, ${fault}, and the segments it was made from are not whole`)
    options.syncs.addFolder(folder)
  }
}

function finishSwap(files: FileSystem, folder: string, span: SwapSpan, names: readonly string[]): void {
  for (const name of names) {
    const parsed = parseSegmentFileName(name)
    if (parsed === undefined || parsed.baseOffset < span.baseOffset || parsed.baseOffset >= span.nextOffset) continue
    // The rename replaces the first one's log; its indexes go before, so that they never stand beside the new log.
    if (parsed.suffix !== '.log' || parsed.baseOffset !== span.baseOffset) removeIfPresent(files, `${folder}/${name}`)
  }
  files.rename(`${folder}/${swapFileName(span)}`, `${folder}/${segmentFileName(span.baseOffset, '.log')}`)
  // Synced with the log; without it the aborted transactions of all segments would be made again.
  const aborted = `${folder}/${cleanedFileName(span.baseOffset, '.txnindex')}`
  if (files.stat(aborted).kind === 'file')
    files.rename(aborted, `${folder}/${segmentFileName(span.baseOffset, '.txnindex')}`)
}

function faultOf(files: FileSystem, folder: string, span: SwapSpan): string | undefined {
  return walk(files, `${folder}/${swapFileName(span)}`, span.baseOffset, (nextOffset, fault) => {
    if (fault !== '') return fault
    return nextOffset === span.nextOffset ? undefined : `it ends at offset ${nextOffset}`
  })
}

/** True when the segments that begin within the span hold all of it by themselves. */
function coversItself(files: FileSystem, folder: string, span: SwapSpan): boolean {
  let offset = span.baseOffset
  while (offset < span.nextOffset) {
    const path = `${folder}/${segmentFileName(offset, '.log')}`
    if (files.stat(path).kind !== 'file') return false
    const end = walk(files, path, offset, (nextOffset, fault) => (fault === '' ? nextOffset : -1))
    if (end <= offset) return false
    offset = end
  }
  return true
}

function walk<T>(files: FileSystem, path: string, offset: number, judge: (nextOffset: number, fault: string) => T): T {
  const fd = files.open(path, 'read')
  try {
    const steps = new BatchWalk(files)
    steps.begin(fd, { offset, leaderEpoch: -1, filePosition: 0, fileEnd: files.sizeOf(fd), offsets: 'exact' })
    let step: WalkStep = 'batch'
    while (step === 'batch') step = steps.step('hashed')
    return judge(steps.nextOffset, steps.fault)
  } finally {
    files.close(fd)
  }
}
