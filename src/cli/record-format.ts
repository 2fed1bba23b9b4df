/**
 * `consume -f`: a format is compiled once into pieces; a record is then written piece by piece into a buffer that is handed
 * out in large chunks. The default, `%v\n`, copies a value's bytes and nothing else.
 */
import type { RecordCursor } from '../client/index.ts'
import { UsageError } from './errors.ts'

type Piece = Uint8Array | 't' | 'p' | 'o' | 'k' | 'v' | 'h' | 'T'

const FIELDS = 'tpokvhT'
const CHUNK_BYTES = 256 * 1024

/** Pieces of a format. Throws UsageError at an unknown `%x`. */
export function compileFormat(format: string): Piece[] {
  const pieces: Piece[] = []
  let text = ''
  const flush = (): void => {
    if (text !== '') pieces.push(new Uint8Array(Buffer.from(text)))
    text = ''
  }
  for (let at = 0; at < format.length; at++) {
    const character = format[at]!
    const next = format[at + 1]
    if (character === '\\' && next !== undefined && 'nt\\'.includes(next)) {
      text += next === 'n' ? '\n' : next === 't' ? '\t' : '\\'
      at++
    } else if (character === '%' && next === '%') {
      text += '%'
      at++
    } else if (character === '%') {
      if (next === undefined || !FIELDS.includes(next))
        throw new UsageError(`-f: '%${next ?? ''}' is not one of %t %p %o %k %v %h %T %%`)
      flush()
      pieces.push(next as Piece)
      at++
    } else text += character
  }
  flush()
  return pieces
}

/** Bytes on their way to stdout. */
export class OutputBuffer {
  #chunk = new Uint8Array(CHUNK_BYTES)
  #at = 0

  get isFull(): boolean {
    return this.#at >= CHUNK_BYTES / 2
  }

  add(bytes: Uint8Array): void {
    if (this.#at + bytes.length > this.#chunk.length) {
      const grown = new Uint8Array(Math.max(2 * this.#chunk.length, this.#at + bytes.length))
      grown.set(this.#chunk.subarray(0, this.#at))
      this.#chunk = grown
    }
    this.#chunk.set(bytes, this.#at)
    this.#at += bytes.length
  }

  addText(text: string): void {
    this.add(Buffer.from(text))
  }

  /** What has gathered; the buffer begins anew. */
  take(): Uint8Array | undefined {
    if (this.#at === 0) return undefined
    const bytes = this.#chunk.subarray(0, this.#at)
    this.#chunk = new Uint8Array(CHUNK_BYTES)
    this.#at = 0
    return bytes
  }
}

export function writeRecord(
  output: OutputBuffer,
  pieces: readonly Piece[],
  place: { readonly topic: string; readonly partition: number },
  record: RecordCursor,
): void {
  for (const piece of pieces) {
    if (piece === 'v') addBytes(output, record.value)
    else if (typeof piece !== 'string') output.add(piece)
    else if (piece === 'k') addBytes(output, record.key)
    else if (piece === 'o') output.addText(String(record.offset))
    else if (piece === 'p') output.addText(String(place.partition))
    else if (piece === 't') output.addText(place.topic)
    else if (piece === 'T') output.addText(String(record.timestampMs))
    else addHeaders(output, record)
  }
}

function addBytes(output: OutputBuffer, bytes: Uint8Array | null): void {
  if (bytes !== null) output.add(bytes)
}

/** `name:value,name:value`. */
function addHeaders(output: OutputBuffer, record: RecordCursor): void {
  record.headers.forEach((header, index) => {
    output.addText(`${index === 0 ? '' : ','}${header.key}:`)
    addBytes(output, header.value)
  })
}
