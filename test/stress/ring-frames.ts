/** Frames of the ring stress test: sequence, then words that follow from it; a torn, lost or doubled frame does not check. */
import type { RingReader } from '../../src/ring/ring-reader.ts'
import type { RingWriter } from '../../src/ring/ring-writer.ts'

export const STRESS_FRAME = 1
export const STRESS_END = 2
export const STRESS_PAGE = 3

/** payloadBytes: a multiple of 4, 4 or more. */
export function fillFrame(
  writer: RingWriter,
  frame: { readonly at: number; readonly payloadBytes: number; readonly sequence: number },
): void {
  writer.view.setUint32(frame.at, frame.sequence, true)
  for (let at = 4; at < frame.payloadBytes; at += 4)
    writer.view.setUint32(frame.at + at, Math.imul(frame.sequence + at, 0x9e3779b1) >>> 0, true)
}

export function checkFrame(reader: RingReader, sequence: number): void {
  const found = reader.view.getUint32(reader.at, true)
  if (found !== sequence) throw new Error(`frame ${found} where ${sequence} was expected`)
  for (let at = 4; at < reader.length; at += 4)
    if (reader.view.getUint32(reader.at + at, true) !== Math.imul(sequence + at, 0x9e3779b1) >>> 0)
      throw new Error(`frame ${sequence} is torn at byte ${at} of ${reader.length}`)
}
