/** Node's own UTF-8 writer (Buffer.write), which makes no object per call. Importing this file puts it in force. */
import { useUtf8Write } from '../utf8-write.ts'

let buffer: Buffer<ArrayBufferLike> = Buffer.alloc(0)

useUtf8Write((target, at, text) => {
  // One Buffer over the memory of the target last seen: a writer asks with the same one again and again.
  if (buffer.buffer !== target.buffer) buffer = Buffer.from(target.buffer)
  return buffer.write(text, target.byteOffset + at)
})
