/**
 * Node's makes of the codecs: gzip (node:zlib), snappy, lz4, zstd (node:zlib where it has it, else a package).
 *
 * Owns        the loaded libraries, each loaded when first asked for, so that a process pays only for what it reads
 * Thread      any; every thread has its own. The zstd package's one-shot functions share one context between all threads of a
 *             process and are not used: its streams have a context each
 * Limits      decompress() bounds what it makes by `maxBytes`: from declared sizes before any allocation where the format has
 *             them (snappy, lz4 by its blocks, zstd frames that say so), else while it unpacks (gzip, zstd). A zstd context reserves
 *             up to the 128 MiB of address space that a frame's window may ask for; it is touched only as far as is unpacked
 * Failure     MillraceError, see compression.ts; a library that cannot be loaded is UNSUPPORTED_COMPRESSION_TYPE and says which
 * Format      what goes on the wire: README.md, "Codecs"
 */
import { createRequire } from 'node:module'
import { isMillraceError, MillraceError } from '../model/errors.ts'
import type { Codec, CodecName, Codecs } from './compression.ts'
import { lz4FrameBytesMax } from './lz4-frame.ts'
import { snappyBytes, unpackXerial, xerialStream } from './snappy-stream.ts'
import { zstdBytesMin, zstdFrameAt } from './zstd-frame.ts'

const require = createRequire(import.meta.url)
const loadZlib = () => require('node:zlib') as typeof import('node:zlib')

/** The codecs of a Node process. */
export function nodeCodecs(): Codecs {
  const loaded = new Map<CodecName, Codec>()
  return {
    find(name) {
      const known = loaded.get(name)
      if (known !== undefined) return known
      const codec = load(name)
      if (codec !== undefined) loaded.set(name, guarded(name, codec))
      return loaded.get(name)
    },
  }
}

function load(name: CodecName): Codec | undefined {
  try {
    if (name === 'gzip') return gzipCodec()
    if (name === 'snappy') return snappyCodec()
    if (name === 'lz4') return lz4Codec()
    if (name === 'zstd') return 'zstdDecompressSync' in loadZlib() ? zlibZstdCodec() : packageZstdCodec()
    return undefined
  } catch (error) {
    throw new MillraceError('UNSUPPORTED_COMPRESSION_TYPE', `the ${name} library cannot be loaded: ${textOf(error)}`, {
      cause: error,
    })
  }
}

/** Turns what the libraries throw into rows of the error table, and holds every make to its bound. */
function guarded(name: CodecName, codec: Codec): Codec {
  return {
    compress: (bytes) => codec.compress(bytes),
    decompress(bytes, maxBytes) {
      let unpacked: Uint8Array
      try {
        unpacked = codec.decompress(bytes, maxBytes)
      } catch (error) {
        if (isMillraceError(error)) throw error
        if (isTooLarge(error)) throw tooLarge(name, maxBytes)
        throw new MillraceError('CORRUPT_MESSAGE', `records that do not unpack as ${name}: ${textOf(error)}`, {
          cause: error,
        })
      }
      if (unpacked.length > maxBytes) throw tooLarge(name, maxBytes)
      // Plain bytes, so that keys and values are of one kind whether their batch was packed or not.
      return new Uint8Array(unpacked.buffer, unpacked.byteOffset, unpacked.length)
    },
  }
}

function tooLarge(name: CodecName, maxBytes: number): MillraceError {
  return new MillraceError('RECORD_LIST_TOO_LARGE', `records packed with ${name} unpack to more than ${maxBytes} bytes`)
}

function isTooLarge(error: unknown): boolean {
  return (
    error instanceof TooLarge || (error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE')
  )
}

/** Leaves an unpacking that went beyond its bound. */
class TooLarge extends Error {}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Throws when a declared size is beyond the bound or the blob is not what it should be (undefined). */
function checkDeclared(declared: number | undefined, maxBytes: number): void {
  if (declared === undefined) throw new Error('the blob is not well formed')
  if (declared > maxBytes) throw new TooLarge()
}

function gzipCodec(): Codec {
  const zlib = loadZlib()
  return {
    compress: (bytes) => zlib.gzipSync(bytes),
    decompress: (bytes, maxBytes) => zlib.gunzipSync(bytes, { maxOutputLength: Math.max(maxBytes, 1) }),
  }
}

interface SnappyLibrary {
  compressSync(bytes: Uint8Array): Uint8Array
  uncompressSync(bytes: Uint8Array, options: { asBuffer: true }): Uint8Array
}

/** Writes the xerial stream, as Java does; reads it and bare blocks, which librdkafka and others write. */
function snappyCodec(): Codec {
  const snappy = require('snappy') as SnappyLibrary
  const unpackBlock = (block: Uint8Array) => snappy.uncompressSync(block, { asBuffer: true })
  return {
    compress: (bytes) => xerialStream(bytes, (block) => snappy.compressSync(block)),
    decompress(bytes, maxBytes) {
      checkDeclared(snappyBytes(bytes), maxBytes)
      return unpackXerial(bytes, unpackBlock) ?? unpackBlock(bytes)
    },
  }
}

interface Lz4Library {
  compressFrameSync(bytes: Uint8Array): Uint8Array
  decompressFrameSync(bytes: Uint8Array): Uint8Array
}

function lz4Codec(): Codec {
  const lz4 = require('lz4-napi') as Lz4Library
  return {
    compress: (bytes) => lz4.compressFrameSync(bytes),
    decompress(bytes, maxBytes) {
      checkDeclared(lz4FrameBytesMax(bytes, maxBytes), maxBytes)
      return lz4.decompressFrameSync(bytes)
    },
  }
}

interface ZlibWithZstd {
  zstdCompressSync(bytes: Uint8Array): Uint8Array
  zstdDecompressSync(bytes: Uint8Array, options: { maxOutputLength: number }): Uint8Array
}

function zlibZstdCodec(): Codec {
  const zstd = loadZlib() as unknown as ZlibWithZstd
  return {
    compress: (bytes) => zstd.zstdCompressSync(bytes),
    decompress(bytes, maxBytes) {
      checkDeclared(zstdBytesMin(bytes), maxBytes)
      // Frame by frame: up to Node 22 a call ends with its first frame, and says nothing of what follows.
      const chunks: Uint8Array[] = []
      let total = 0
      for (let at = 0, end = 0; at < bytes.length; at = end) {
        end = zstdFrameAt(bytes, at)?.end ?? bytes.length
        const maxOutputLength = Math.max(maxBytes - total, 1)
        const chunk = zstd.zstdDecompressSync(bytes.subarray(at, end), { maxOutputLength })
        total += chunk.length
        chunks.push(chunk)
      }
      return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, total)
    },
  }
}

interface ZstdStream {
  data(bytes: Uint8Array, onChunk: (chunk: Uint8Array) => void): void
  end(onChunk: (chunk: Uint8Array) => void): void
}

interface ZstdPackage {
  _NapiBindings: { Compressor: new (level: number) => ZstdStream; Decompressor: new () => ZstdStream }
}

const ZSTD_LEVEL = 3

function packageZstdCodec(): Codec {
  const { Compressor, Decompressor } = (require('@cloudpss/zstd/napi') as ZstdPackage)._NapiBindings
  // Contexts cost up to milliseconds, and megabytes that the garbage collector does not see: one of each is used again. A stream that
  // threw, in the midst of a frame, is dropped; zstdBytesMin lets whole frames only through.
  let compressor: ZstdStream | undefined
  let decompressor: ZstdStream | undefined
  return {
    compress(bytes) {
      const stream = compressor ?? new Compressor(ZSTD_LEVEL)
      compressor = undefined
      const packed = runStream(stream, bytes, Number.POSITIVE_INFINITY)
      compressor = stream
      return packed
    },
    decompress(bytes, maxBytes) {
      checkDeclared(zstdBytesMin(bytes), maxBytes)
      const stream = decompressor ?? new Decompressor()
      decompressor = undefined
      const unpacked = runStream(stream, bytes, maxBytes)
      decompressor = stream
      return unpacked
    },
  }
}

/** Feeds `bytes` to a stream of the zstd package, which calls back at once with copies; stops beyond `maxBytes`. */
function runStream(stream: ZstdStream, bytes: Uint8Array, maxBytes: number): Uint8Array {
  const chunks: Uint8Array[] = []
  let total = 0
  const keep = (chunk: Uint8Array) => {
    total += chunk.length
    if (total > maxBytes) throw new TooLarge()
    chunks.push(chunk)
  }
  stream.data(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), keep)
  stream.end(keep)
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, total)
}
