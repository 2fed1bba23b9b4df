/** A fetch reply of the native protocol as fragments: prologue and header in one, then the pages as they lie. */
import { type Api, PROLOGUE_BYTES, writePrologue } from '../../protocol/index.ts'
import type { FetchedPart, FetchedRow } from './fetch-call.ts'

export function fetchFrame(
  api: Api,
  correlationId: number,
  rows: readonly FetchedRow[],
  encodeHeader: (parts: readonly FetchedPart[]) => Uint8Array,
): Uint8Array[] {
  const header = encodeHeader(rows.map(({ part }) => part))
  const head = new Uint8Array(PROLOGUE_BYTES + header.length)
  writePrologue(head, 0, { api, isReply: true, correlationId }, header.length)
  head.set(header, PROLOGUE_BYTES)
  const fragments: Uint8Array[] = [head]
  for (const { views } of rows) for (const view of views) fragments.push(view)
  return fragments
}
