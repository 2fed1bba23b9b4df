/** NoticeSender: what the shard has to say by itself, as frames of the reply ring; lost and counted when too much waits. */
import { encodeControlBody } from '../ring/control-codec.ts'
import type { Notice } from '../ring/control-messages.ts'
import { MessageType, NOTICE_BODY_AT, NOTICE_BODY_BYTES_AT } from '../ring/messages.ts'
import type { ReplyOutbox } from './reply-outbox.ts'

export class NoticeSender {
  readonly #outbox: ReplyOutbox

  constructor(outbox: ReplyOutbox) {
    this.#outbox = outbox
  }

  /** False when it is lost. */
  send(notice: Notice): boolean {
    if (!this.#outbox.hasRoomForNotice()) return false
    const body = encodeControlBody(notice)
    this.#outbox.begin(MessageType.NOTICE, NOTICE_BODY_AT + body.length, 'control')
    this.#outbox.view.setUint32(this.#outbox.at + NOTICE_BODY_BYTES_AT, body.length, true)
    this.#outbox.bytes.set(body, this.#outbox.at + NOTICE_BODY_AT)
    this.#outbox.end()
    return true
  }

  log(level: 'debug' | 'info' | 'warn' | 'error', text: string): void {
    this.send({ kind: 'log', level, text })
  }
}
