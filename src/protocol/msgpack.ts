/**
 * Msgpack as the wire uses it: msgpackr without records, behind a guard that looks at untrusted bytes first.
 *
 * Why a guard  msgpackr allocates an array of the length that five bytes declare, recurses as deep as the input nests, and
 *              runs extensions by type. The walk below is iterative and allocates nothing that input can size.
 * Limits       MSGPACK_DEPTH_MAX levels; every count and length is at most the bytes left
 * Failure      unpackUntrusted throws MillraceError INVALID_REQUEST that says what was wrong and at which byte
 */
// These subpaths have neither streams nor an optional native part: they load in half the time.
import { Packr } from 'msgpackr/pack'
import { Unpackr } from 'msgpackr/unpack'
import { MillraceError } from '../model/errors.ts'

/** Arrays and maps inside each other: a header needs four. */
export const MSGPACK_DEPTH_MAX = 8

const packr = new Packr({ useRecords: false, variableMapSize: true })
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number' })

/** Packs a value of arrays, plain objects, texts, numbers, booleans, null and bytes. */
export function pack(value: unknown): Uint8Array {
  return packr.pack(value)
}

/** Unpacks bytes that came from outside. Texts that are not UTF-8 come out with replacement characters. */
export function unpackUntrusted(bytes: Uint8Array): unknown {
  const fault = findMsgpackFault(bytes)
  if (fault !== undefined) throw new MillraceError('INVALID_REQUEST', `header: ${fault}`)
  try {
    return unpackr.unpack(bytes)
  } catch (cause) {
    throw new MillraceError('INVALID_REQUEST', 'header: not msgpack', { cause })
  }
}

// What follows a format byte (MessagePack specification, "Formats"), by byte - 0xc0: bytes of a value of fixed length …
// prettier-ignore
const FIXED_BYTES = [
  0, -1, 0, 0, -2, -2, -2, -1, -1, -1, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, -1, -1, -1, -1, -1, -2, -2, -2, -3, -3, -4, -4,
]
// … or, where that is negative: -1 refused (extensions and the unused byte), -2 text or bytes, -3 array, -4 map, with a
// length of so many bytes.
const LENGTH_BYTES: Readonly<Record<number, number>> = {
  196: 1,
  197: 2,
  198: 4,
  217: 1,
  218: 2,
  219: 4,
  220: 2,
  221: 4,
  222: 2,
  223: 4,
}
const REFUSED = -1
const BYTES = -2
const ARRAY = -3

/** What is wrong with `bytes` as one msgpack value, or undefined. Does not build anything. */
export function findMsgpackFault(bytes: Uint8Array): string | undefined {
  const open = new Float64Array(MSGPACK_DEPTH_MAX + 1) // values still to come, by depth
  let depth = 0
  let at = 0
  open[0] = 1
  while (depth > 0 || open[0]! > 0) {
    if (open[depth] === 0) {
      depth--
      continue
    }
    open[depth]! -= 1
    if (at >= bytes.length) return `ends inside a value at byte ${at}`
    const format = bytes[at]!
    let children = 0
    let length = 0
    if (format < 0x80 || format >= 0xe0) {
      at++
    } else if (format < 0xc0) {
      at++
      if (format < 0x90) children = (format & 0x0f) * 2
      else if (format < 0xa0) children = format & 0x0f
      else length = format & 0x1f
    } else {
      const fixed = FIXED_BYTES[format - 0xc0]!
      if (fixed === REFUSED) return `format 0x${format.toString(16)} at byte ${at} is not allowed`
      if (fixed >= 0) {
        at++
        length = fixed
      } else {
        const lengthBytes = LENGTH_BYTES[format]!
        if (at + 1 + lengthBytes > bytes.length) return `ends inside a length at byte ${at}`
        let declared = 0
        for (let index = 1; index <= lengthBytes; index++) declared = declared * 256 + bytes[at + index]!
        at += 1 + lengthBytes
        if (fixed === BYTES) length = declared
        else children = fixed === ARRAY ? declared : declared * 2
      }
    }
    if (length > bytes.length - at) return `${length} bytes declared where ${bytes.length - at} are left`
    at += length
    if (children === 0) continue
    if (children > bytes.length - at) return `${children} values declared where ${bytes.length - at} bytes are left`
    if (depth === MSGPACK_DEPTH_MAX) return `nested deeper than ${MSGPACK_DEPTH_MAX} levels`
    depth++
    open[depth] = children
  }
  return at === bytes.length ? undefined : `${bytes.length - at} bytes too many after the value`
}
