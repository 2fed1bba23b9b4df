/**
 * How large a batch may be, and a record that is larger and so goes alone in one: the least of what producer, topic and broker
 * allow. All sizes are those before compression, batch header included.
 */
import { utf8Bytes } from '../base/utf8-write.ts'
import { MillraceError } from '../model/errors.ts'
import type { HelloReply } from '../protocol/index.ts'
import type { HeaderInput } from '../record/batch-writer.ts'

export interface BatchLimits {
  /** Records are put together up to this. */
  readonly batchBytesMax: number
  /** A record alone in a batch. */
  readonly recordBytesMax: number
  /** What bounds recordBytesMax, and so is to be raised. */
  readonly bound: string
}

/** A produce request around one batch: prologue, header, the part's fields. */
const FRAME_OVERHEAD_BYTES = 1024

/**
 * The limits of a topic on a broker. `config` has only what the topic sets itself: a record that is too large for the broker's
 * default of max.message.bytes is refused there, by a reply.
 */
export function batchLimits(
  wantedBytes: number,
  broker: Pick<HelloReply, 'batchBytesMax' | 'frameBytesMax'>,
  config: Readonly<Record<string, string>>,
): BatchLimits {
  const bounds = [
    {
      bytes: Number(config['max.message.bytes'] ?? Number.POSITIVE_INFINITY),
      bound: "the topic's max.message.bytes",
    },
    {
      bytes: broker.batchBytesMax,
      bound: 'rings.requestBytes or limits.frameBytes in the configuration of the broker',
    },
    {
      bytes: broker.frameBytesMax - FRAME_OVERHEAD_BYTES,
      bound: 'limits.frameBytes in the configuration of the broker',
    },
  ]
  const least = bounds.reduce((left, right) => (right.bytes < left.bytes ? right : left))
  return {
    batchBytesMax: Math.min(wantedBytes, least.bytes),
    recordBytesMax: least.bytes,
    bound: least.bound,
  }
}

/** MESSAGE_TOO_LARGE that names the sizes and what to raise. */
export function recordTooLarge(
  topic: string,
  parts: readonly (Uint8Array | string | null)[],
  headers: readonly HeaderInput[] | null,
  limits: BatchLimits,
): MillraceError {
  let bytes = 0
  for (const part of parts) bytes += bytesOf(part)
  for (const header of headers ?? []) bytes += utf8Bytes(header.key) + bytesOf(header.value)
  return new MillraceError(
    'MESSAGE_TOO_LARGE',
    `a record for ${topic} has ${bytes} bytes of key, value and headers; a batch of its own may have ` +
      `${limits.recordBytesMax} bytes, its header included: raise ${limits.bound}, or send less`,
  )
}

function bytesOf(part: Uint8Array | string | null): number {
  if (part === null) return 0
  return typeof part === 'string' ? utf8Bytes(part) : part.length
}
