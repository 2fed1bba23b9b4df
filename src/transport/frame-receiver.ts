/**
 * FrameReceiver: the receiving half of a WebSocket client, sans-IO (RFC 6455, section 5): from pieces of a byte stream to whole
 * binary messages.
 *
 * Why         a reply of some MiB comes as fragments, and those in pieces of the socket's 64 KiB: here each byte is copied once,
 *             while it is still in the cache, into the one buffer that is handed out
 * Owns        the frame header so far, the message so far
 * Thread      any
 * Invariants  FR1 what is handed out is never written to again                       checked in: test/unit/transport/frame-receiver.test.ts
 *             FR2 nothing is allocated for bytes beyond messageBytesMax, whatever a header says
 * Limits      messageBytesMax for a message, all its fragments together
 * Failure     onFault, once; nothing is taken after it
 * Not here    control and text frames: their bytes go to onOther as they come, header included
 */

const OPCODE_CONTINUATION = 0
const OPCODE_BINARY = 2
const FIN_BIT = 0x80
const RESERVED_BITS = 0x70
const OPCODE_BITS = 0x0f
const MASK_BIT = 0x80
const LENGTH_BITS = 0x7f
const LENGTH_16 = 126
const LENGTH_64 = 127
const HEADER_BYTES_MAX = 10
/** The first buffer of a message of unknown size is not smaller. */
const GUESS_BYTES_MIN = 64 * 1024

export interface FrameReceiverOptions {
  readonly messageBytesMax: number
  /** Memory for a message; it need not be zeroed. */
  readonly allocate: (bytes: number) => Uint8Array
  /** A whole binary message; the bytes belong to the listener. */
  readonly onMessage: (bytes: Uint8Array) => void
  /** Bytes of a frame that is not binary, in pieces as they came. */
  readonly onOther: (bytes: Uint8Array) => void
  readonly onFault: (text: string) => void
}

export class FrameReceiver {
  readonly #options: FrameReceiverOptions
  readonly #header = new Uint8Array(HEADER_BYTES_MAX)
  #headerBytes = 0
  /** Payload bytes of the frame under way that have not come yet; -1 = a header comes next. */
  #payloadLeft = -1
  #isFinal = false
  #isOther = false
  /** Between the first fragment of a message and the last. */
  #isFragmented = false
  #message: Uint8Array | undefined
  #messageBytes = 0
  /** How large messages that come in fragments are here. */
  #guessBytes = GUESS_BYTES_MIN
  #isStopped = false

  constructor(options: FrameReceiverOptions) {
    this.#options = options
  }

  /** Part of a message or of a frame has come, and the rest has not. */
  get isWithinMessage(): boolean {
    return this.#payloadLeft >= 0 || this.#headerBytes > 0 || this.#isFragmented
  }

  /** Takes the next bytes of the stream. Messages that lie within them whole are handed out as views of them. */
  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length && !this.#isStopped) {
      at = this.#payloadLeft < 0 ? this.#takeHeader(chunk, at) : this.#takePayload(chunk, at)
    }
  }

  #takeHeader(chunk: Uint8Array, from: number): number {
    let at = from
    const header = this.#header
    while (at < chunk.length && (this.#headerBytes < 2 || this.#headerBytes < headerBytesOf(header)))
      header[this.#headerBytes++] = chunk[at++]!
    if (this.#headerBytes < 2 || this.#headerBytes < headerBytesOf(header)) return at
    this.#beginFrame()
    this.#headerBytes = 0
    // A frame without a payload has come already.
    if (this.#payloadLeft === 0 && !this.#isStopped) this.#endFrame()
    return at
  }

  #beginFrame(): void {
    const header = this.#header
    const opcode = header[0]! & OPCODE_BITS
    this.#isOther = opcode !== OPCODE_BINARY && opcode !== OPCODE_CONTINUATION
    this.#isFinal = (header[0]! & FIN_BIT) !== 0
    this.#payloadLeft = payloadBytesOf(header)
    const fault = this.#faultOf(opcode)
    if (fault !== undefined) this.#fail(fault)
    else if (this.#isOther) this.#options.onOther(header.slice(0, this.#headerBytes))
    else this.#isFragmented = !this.#isFinal
  }

  /** What is wrong with the frame that begins. */
  #faultOf(opcode: number): string | undefined {
    if ((this.#header[0]! & RESERVED_BITS) !== 0) return 'a frame has reserved bits set'
    if ((this.#header[1]! & MASK_BIT) !== 0) return 'a frame of the server is masked'
    if (this.#isOther) return undefined
    if ((opcode === OPCODE_CONTINUATION) !== this.#isFragmented)
      return this.#isFragmented ? 'a message begins within another' : 'a fragment without a beginning'
    const { messageBytesMax } = this.#options
    return this.#messageBytes + this.#payloadLeft > messageBytesMax
      ? `a message is larger than ${messageBytesMax} bytes`
      : undefined
  }

  #takePayload(chunk: Uint8Array, from: number): number {
    const end = Math.min(chunk.length, from + this.#payloadLeft)
    const piece = chunk.subarray(from, end)
    const isWhole = this.#isFinal && piece.length === this.#payloadLeft && this.#messageBytes === 0
    this.#payloadLeft -= piece.length
    if (this.#isOther) this.#options.onOther(piece)
    else if (isWhole) {
      this.#payloadLeft = -1
      this.#options.onMessage(piece)
      return end
    } else this.#keep(piece)
    if (this.#payloadLeft === 0) this.#endFrame()
    return end
  }

  #keep(piece: Uint8Array): void {
    const { allocate, messageBytesMax } = this.#options
    const needBytes = this.#messageBytes + piece.length
    // All of the frame under way, and of those that follow as many bytes as messages had before.
    const wantBytes = needBytes + this.#payloadLeft
    const message = this.#message
    if (message === undefined)
      this.#message = allocate(
        this.#isFinal ? wantBytes : Math.min(messageBytesMax, Math.max(wantBytes, this.#guessBytes)),
      )
    else if (message.length < wantBytes) {
      this.#message = allocate(Math.min(messageBytesMax, Math.max(wantBytes, 2 * message.length)))
      this.#message.set(message.subarray(0, this.#messageBytes))
    }
    this.#message!.set(piece, this.#messageBytes)
    this.#messageBytes = needBytes
  }

  #endFrame(): void {
    this.#payloadLeft = -1
    if (this.#isOther || !this.#isFinal) return
    const message = this.#message ?? new Uint8Array(0)
    const bytes = this.#messageBytes
    this.#message = undefined
    this.#messageBytes = 0
    if (bytes > GUESS_BYTES_MIN) this.#guessBytes = bytes + (bytes >> 3)
    // A buffer that is mostly empty would be kept for as long as any view of it.
    this.#options.onMessage(2 * bytes < message.length ? message.slice(0, bytes) : message.subarray(0, bytes))
  }

  #fail(text: string): void {
    this.#isStopped = true
    this.#message = undefined
    this.#options.onFault(text)
  }
}

function headerBytesOf(header: Uint8Array): number {
  const length = header[1]! & LENGTH_BITS
  return length === LENGTH_64 ? 10 : length === LENGTH_16 ? 4 : 2
}

function payloadBytesOf(header: Uint8Array): number {
  const length = header[1]! & LENGTH_BITS
  if (length < LENGTH_16) return length
  let bytes = 0
  for (let at = 2; at < headerBytesOf(header); at++) bytes = bytes * 256 + header[at]!
  return bytes
}
