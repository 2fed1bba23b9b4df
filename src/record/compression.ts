/**
 * Compression: the codecs' names and numbers, and the port through which records are packed and unpacked.
 *
 * A codec is given the records of a batch together and answers one blob, and back. `none` needs no codec.
 * Makes       node-codecs.ts; a browser hands in its own
 * Limits      decompress() must refuse, before it allocates, what would grow beyond `maxBytes`: input is untrusted
 * Failure     MillraceError: CORRUPT_MESSAGE for a blob that cannot be read, RECORD_LIST_TOO_LARGE for one that is too
 *             large when unpacked, UNSUPPORTED_COMPRESSION_TYPE for a codec that nobody gave
 */
import { MillraceError } from '../model/errors.ts'

/** Names by number, as in the attributes of a batch and in `compression.type`. */
export const CODEC_NAMES = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

export type CodecName = (typeof CODEC_NAMES)[number]

export const NO_CODEC = 0
/** Largest number that names a codec. */
export const CODEC_MAX = CODEC_NAMES.length - 1

export interface Codec {
  compress(bytes: Uint8Array): Uint8Array
  /** The unpacked bytes, at most `maxBytes`; may be a view of a buffer of its own, never of one it will re-use. */
  decompress(bytes: Uint8Array, maxBytes: number): Uint8Array
}

/** What a process can pack and unpack: the codec of a name; undefined where it has none. */
export interface Codecs {
  find(name: CodecName): Codec | undefined
}

/** A process without codecs: reads and writes uncompressed batches only. */
export const NO_CODECS: Codecs = { find: () => undefined }

/** The same codecs; `onCall` is told of each call, and how many bytes it made: 0 when it threw, which leaves memory behind as well. */
export function countedCodecs(codecs: Codecs, onCall: (bytes: number) => void): Codecs {
  const counted = (call: () => Uint8Array): Uint8Array => {
    let bytes = 0
    try {
      const made = call()
      bytes = made.length
      return made
    } finally {
      onCall(bytes)
    }
  }
  return {
    find(name) {
      const codec = codecs.find(name)
      if (codec === undefined) return undefined
      return {
        compress: (bytes) => counted(() => codec.compress(bytes)),
        decompress: (bytes, maxBytes) => counted(() => codec.decompress(bytes, maxBytes)),
      }
    },
  }
}

/** Number of a codec's name; undefined for a name that is not one. */
export function codecNumberOf(name: string): number | undefined {
  const number = (CODEC_NAMES as readonly string[]).indexOf(name)
  return number < 0 ? undefined : number
}

/** Name of a codec's number; undefined for a number that has none. */
export function codecNameOf(number: number): CodecName | undefined {
  return CODEC_NAMES[number]
}

/** The codec of a number other than 0, or MillraceError UNSUPPORTED_COMPRESSION_TYPE that says which is missing. */
export function requireCodec(codecs: Codecs, number: number): Codec {
  const name = codecNameOf(number)
  if (name === undefined || number === NO_CODEC)
    throw new MillraceError('UNSUPPORTED_COMPRESSION_TYPE', `codec number ${number} is not one of 1 to ${CODEC_MAX}`)
  const codec = codecs.find(name)
  if (codec === undefined)
    throw new MillraceError('UNSUPPORTED_COMPRESSION_TYPE', `this process has no codec for ${name}`)
  return codec
}
