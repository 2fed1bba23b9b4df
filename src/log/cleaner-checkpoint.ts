/**
 * CleanerCheckpoint: how far a partition is compacted, as a small file of its folder.
 *
 * Rule     never ahead of the truth: it is written when every segment of the run is swapped for good. Behind it may be, and lost: then
 *          all of the log counts as never compacted, which costs a run and keeps tombstones one run longer
 * Format   format.md, "Cleaner checkpoint"
 */
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import type { FileSystem } from '../io/file-system.ts'
import {
  type CheckedAnswer,
  type CheckedFileKind,
  decodeChecked,
  newChecked,
  readChecked,
  sealChecked,
} from './checked-file.ts'

export const CLEANER_CHECKPOINT_FILE = 'cleaner-checkpoint'

export const CLEANER_CHECKPOINT_END_AT = 0
export const CLEANER_CHECKPOINT_META_BYTES = CLEANER_CHECKPOINT_END_AT + 8

export const CLEANER_CHECKPOINT_FILE_KIND: CheckedFileKind = {
  name: 'cleaner checkpoint',
  magic: 'MRCC',
  version: 1,
  metaBytes: CLEANER_CHECKPOINT_META_BYTES,
  entryBytes: 8,
}

export function encodeCleanerCheckpoint(cleanEnd: number): Uint8Array {
  const content = newChecked(CLEANER_CHECKPOINT_FILE_KIND, 0)
  writeSafeInt64(content.view, content.metaAt + CLEANER_CHECKPOINT_END_AT, cleanEnd)
  return sealChecked(content)
}

export function decodeCleanerCheckpoint(bytes: Uint8Array): CheckedAnswer<number> {
  const content = decodeChecked(CLEANER_CHECKPOINT_FILE_KIND, bytes)
  if (content.kind === 'unreadable') return content
  const cleanEnd = readSafeInt64(content.view, content.metaAt + CLEANER_CHECKPOINT_END_AT)
  if (!(cleanEnd >= 0)) return { kind: 'unreadable', reason: `cleaner checkpoint: offset ${cleanEnd}` }
  return { kind: 'present', value: cleanEnd }
}

/** The clean end that the folder's file tells; 0 when it tells none. */
export function readCleanEnd(files: FileSystem, folder: string): number {
  const answer = readChecked(files, `${folder}/${CLEANER_CHECKPOINT_FILE}`, decodeCleanerCheckpoint)
  return answer.kind === 'present' ? answer.value : 0
}
