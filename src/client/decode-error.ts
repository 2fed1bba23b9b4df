/** DecodeError: a record that its serde cannot read, and where it lies. */
import { MillraceError } from '../model/errors.ts'

interface Place {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** A record whose key or value its serde could not read; `cause` says why. */
export class DecodeError extends MillraceError {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly part: 'key' | 'value'

  constructor(record: Place, part: 'key' | 'value', cause: unknown) {
    const { topic, partition, offset } = record
    const why = cause instanceof Error ? cause.message : String(cause)
    super('INVALID_RECORD', `${topic}/${partition} at offset ${offset}: the ${part} cannot be decoded: ${why}`, {
      cause,
    })
    this.topic = topic
    this.partition = partition
    this.offset = offset
    this.part = part
  }
}
