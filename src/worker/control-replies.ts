/** ControlReplies: the answers to CONTROL messages: into the outbox, or an error where they are larger than a frame. */
import { type ErrorCode, errorNumberOf } from '../model/errors.ts'
import { encodeControlBody } from '../ring/control-codec.ts'
import {
  CONTROL_BODY_AT,
  CONTROL_BODY_BYTES_AT,
  CONTROL_OPERATION_AT,
  CONTROL_REQUEST_ID_AT,
  MessageType,
} from '../ring/messages.ts'
import type { ReplyOutbox } from './reply-outbox.ts'

export class ControlReplies {
  readonly #outbox: ReplyOutbox

  constructor(outbox: ReplyOutbox) {
    this.#outbox = outbox
  }

  /** Of the largest answer. */
  get bodyBytesMax(): number {
    return this.#outbox.payloadBytesMax - CONTROL_BODY_AT
  }

  answer(requestId: number, body: unknown): void {
    this.#send(requestId, 0, encodeControlBody(body))
  }

  /** The reply to a GROUP_REQUEST: `header` is for the client, as it is. */
  relay(requestId: number, header: Uint8Array): void {
    this.#send(requestId, 0, header)
  }

  fail(requestId: number, error: ErrorCode, text: string): void {
    this.#send(requestId, errorNumberOf(error), encodeControlBody(text))
  }

  #send(requestId: number, errorNumber: number, body: Uint8Array): void {
    if (requestId === 0) return
    const outbox = this.#outbox
    if (body.length > this.bodyBytesMax) {
      const text = `the answer of ${body.length} bytes is larger than a frame (rings.replyBytes): ask for less at once, or in pages`
      this.fail(requestId, 'MESSAGE_TOO_LARGE', text)
      return
    }
    outbox.begin(MessageType.CONTROL_REPLY, CONTROL_BODY_AT + body.length, 'control')
    outbox.view.setUint32(outbox.at + CONTROL_REQUEST_ID_AT, requestId, true)
    outbox.view.setInt32(outbox.at + CONTROL_OPERATION_AT, errorNumber, true)
    outbox.view.setUint32(outbox.at + CONTROL_BODY_BYTES_AT, body.length, true)
    outbox.bytes.set(body, outbox.at + CONTROL_BODY_AT)
    outbox.end()
  }
}
