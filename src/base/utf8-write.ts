/**
 * Writing text as UTF-8 into the middle of a buffer. The plain make below runs anywhere; Node replaces it by the native one,
 * which makes no object per call: import base/node/native-utf8.ts in a composition root before any work.
 *
 * Failure   a lone surrogate is written as U+FFFD, by both makes
 */
import { assert } from './assert.ts'

/** Writes `text` at target[at]; returns the bytes written. The caller has made sure of 3 * text.length bytes. */
export type Utf8Write = (target: Uint8Array, at: number, text: string) => number

/** Up to here a loop over the characters beats a call into the encoder. */
const LOOP_CHARS_MAX = 24

const encoder = new TextEncoder()

export const plainUtf8Write: Utf8Write = (target, at, text) => {
  if (text.length <= LOOP_CHARS_MAX) {
    const written = writeAscii(target, at, text)
    if (written >= 0) return written
  }
  return encoder.encodeInto(text, target.subarray(at)).written
}

/** Writes `text` if it is ASCII; −1, with some bytes of it written, if it is not. */
function writeAscii(target: Uint8Array, at: number, text: string): number {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code > 0x7f) return -1
    target[at + index] = code
  }
  return text.length
}

let current: Utf8Write = plainUtf8Write

/** Writes `text` by the make in force: short ASCII by a loop, which no call beats, the rest by the make. */
export function utf8Write(target: Uint8Array, at: number, text: string): number {
  if (text.length <= LOOP_CHARS_MAX) {
    const written = writeAscii(target, at, text)
    if (written >= 0) return written
  }
  return current(target, at, text)
}

/** Bytes that `text` takes as UTF-8. */
export function utf8Bytes(text: string): number {
  let bytes = text.length
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 0x80) continue
    if (code < 0x800) bytes += 1
    else if (code >= 0xd800 && code < 0xdc00 && isLowSurrogate(text.charCodeAt(index + 1))) {
      bytes += 2 // two code units, four bytes
      index++
    } else bytes += 2
  }
  return bytes
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code < 0xe000
}

/** Puts another make in force, after checking that it writes what the plain one does. */
export function useUtf8Write(make: Utf8Write): void {
  const text = 'a\u00e9\u65e5\u{1f600}\ud800z'
  const mine = new Uint8Array(32)
  const theirs = new Uint8Array(32)
  const same = make(theirs, 3, text) === plainUtf8Write(mine, 3, text)
  assert(same && mine.every((byte, index) => byte === theirs[index]), 'the UTF-8 make in use writes other bytes')
  current = make
}
