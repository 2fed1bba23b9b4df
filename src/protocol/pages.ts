/**
 * Pages: answers about groups that may be larger than a frame (9, 16, 69) come in several, each asked for by a cursor.
 *
 * Request   cursor: '' = the first page, else nextCursor of the page before; null or missing = all at once, an error where that does
 *           not fit a frame
 * Reply     nextCursor: null or missing = there is no more (an older broker answers all at once). Only its maker reads a cursor
 * Rule      pages hang on no state of the broker's: what is there from the first page to the last is in exactly one of them, what comes
 *           or goes in between may be in one or in none
 */
import { MillraceError } from '../model/errors.ts'
import type { Fields } from './fields.ts'

export interface PageRequest {
  readonly cursor?: string | null
}

export interface PageReply {
  readonly nextCursor: string | null
}

/** Two texts that may be as long as a name of a group or of a member is read. */
const CURSOR_LENGTH_MAX = 2048

export function readCursor(fields: Fields, name: 'cursor' | 'nextCursor'): string | null {
  return fields.textOrNull(name, CURSOR_LENGTH_MAX)
}

/** All pages, in their order. */
export async function allPages<Reply extends PageReply>(ask: (cursor: string) => Promise<Reply>): Promise<Reply[]> {
  const pages: Reply[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page: Reply = await ask(cursor)
    if (page.nextCursor === cursor)
      throw new MillraceError('UNKNOWN_SERVER_ERROR', `the page at '${cursor}' names itself as the next one`)
    pages.push(page)
    cursor = page.nextCursor
  }
  return pages
}
