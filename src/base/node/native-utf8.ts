/**
 * Node's own UTF-8 writer, which makes no object per call. Importing this file puts it in force.
 *
 * `utf8Write` is what Buffer.write calls; it is on the prototype since the first Buffers, without being documented. It takes any
 * Uint8Array, so writers that take turns need no Buffer each. Where it is missing, or does not write what TextEncoder does
 * (useUtf8Write checks), the documented Buffer.write does the work over a Buffer of the memory last seen.
 */
import { type Utf8Write, useUtf8Write } from '../utf8-write.ts'

type NativeWrite = (this: Uint8Array, text: string, at: number, bytesMax: number) => number

const { utf8Write } = Buffer.prototype as unknown as { utf8Write?: NativeWrite }

let buffer: Buffer<ArrayBufferLike> = Buffer.alloc(0)

const documentedWrite: Utf8Write = (target, at, text) => {
  if (buffer.buffer !== target.buffer) buffer = Buffer.from(target.buffer)
  return buffer.write(text, target.byteOffset + at)
}

function useFastest(): void {
  if (utf8Write !== undefined)
    try {
      useUtf8Write((target, at, text) => utf8Write.call(target, text, at, target.length - at))
      return
    } catch {
      // Another Node may have it otherwise: the documented way it is.
    }
  useUtf8Write(documentedWrite)
}

useFastest()
