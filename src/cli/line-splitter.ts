/**
 * LineSplitter: cuts chunks of bytes into lines without copying, but for a line that lies in two chunks. A last line without
 * a line feed is a line; an empty last one is none.
 */

const LINE_FEED = 0x0a

export class LineSplitter {
  readonly #lineBytesMax: number
  #rest: Uint8Array[] = []
  #restBytes = 0
  #chunk: Uint8Array = new Uint8Array(0)
  #at = 0

  constructor(lineBytesMax: number) {
    this.#lineBytesMax = lineBytesMax
  }

  /** The next chunk; all lines of the one before have been taken with next(). */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk
    this.#at = 0
  }

  /** The next whole line, without its line feed; undefined when the chunk has none left. Throws RangeError when a line is too long. */
  next(): Uint8Array | undefined {
    const end = this.#chunk.indexOf(LINE_FEED, this.#at)
    if (end < 0) {
      this.#keep(this.#chunk.subarray(this.#at))
      this.#at = this.#chunk.length
      return undefined
    }
    const part = this.#chunk.subarray(this.#at, end)
    this.#at = end + 1
    return this.#restBytes === 0 ? part : this.#join(part)
  }

  /** What is left after the last chunk. */
  last(): Uint8Array | undefined {
    return this.#restBytes === 0 ? undefined : this.#join(new Uint8Array(0))
  }

  #keep(part: Uint8Array): void {
    if (part.length === 0) return
    this.#restBytes += part.length
    if (this.#restBytes > this.#lineBytesMax) throw new RangeError(`a line is longer than ${this.#lineBytesMax} bytes`)
    this.#rest.push(part.slice())
  }

  #join(part: Uint8Array): Uint8Array {
    const line = new Uint8Array(this.#restBytes + part.length)
    let at = 0
    for (const rest of this.#rest) {
      line.set(rest, at)
      at += rest.length
    }
    line.set(part, at)
    this.#rest = []
    this.#restBytes = 0
    return line
  }
}
