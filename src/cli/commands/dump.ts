/**
 * `millrace dump SEGMENT`: batches and records of a segment file, as JSON lines. Exit code 1 when it is damaged.
 * The walk is synchronous, so lines go to stdout by synchronous writes: nothing piles up, and a closed pipe ends the walk. An
 * interrupt ends the process at once: no listener would run before the end.
 */
import '../../base/node/native-crc32c.ts'
import { writeSync } from 'node:fs'
import { NodeFileSystem } from '../../io/node-file-system.ts'
import { MillraceError } from '../../model/errors.ts'
import { nodeCodecs } from '../../record/node-codecs.ts'
import { dumpSegment } from '../../tools/dump-segment.ts'
import { checkedFile } from '../files.ts'
import { OutputBuffer } from '../record-format.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'

const STDOUT = 1

export async function dump(terminal: Terminal, _flags: GlobalOptions, path: string): Promise<void> {
  checkedFile('segment', path)
  terminal.release()
  terminal.signal.throwIfAborted()
  const output = new OutputBuffer()
  const write = (line: string): void => {
    output.addText(`${line}\n`)
    if (output.isFull) writeAll(output.take())
  }
  try {
    const summary = dumpSegment({ files: new NodeFileSystem(), path, codecs: nodeCodecs(), write })
    writeAll(output.take())
    terminal.say(`${summary.batches} batches, ${summary.records} records, ${summary.tailBytes} bytes of a torn tail`)
    if (summary.batches === 0 && summary.tailBytes > 0)
      throw new MillraceError('CORRUPT_MESSAGE', `${path}: not one batch: is it a segment, TOPIC-ID-PARTITION/….log?`)
    if (summary.damages > 0)
      throw new MillraceError('CORRUPT_MESSAGE', `${path}: ${summary.damages} damaged places; see the lines above`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error // the reader has had enough
  }
}

function writeAll(bytes: Uint8Array | undefined): void {
  let at = 0
  while (bytes !== undefined && at < bytes.length) {
    try {
      at += writeSync(STDOUT, bytes, at)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error // a full pipe that does not block: try again
    }
  }
}
