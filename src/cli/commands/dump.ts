/** `millrace dump SEGMENT`: batches and records of a segment file, as JSON lines. Exit code 1 when it is damaged. */
import '../../base/node/native-crc32c.ts'
import { existsSync } from 'node:fs'
import { NodeFileSystem } from '../../io/node-file-system.ts'
import { MillraceError } from '../../model/errors.ts'
import { nodeCodecs } from '../../record/node-codecs.ts'
import { dumpSegment } from '../../tools/dump-segment.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'

export async function dump(terminal: Terminal, _flags: GlobalOptions, path: string): Promise<void> {
  if (!existsSync(path)) throw new MillraceError('RESOURCE_NOT_FOUND', `there is no file '${path}'`)
  const summary = dumpSegment({
    files: new NodeFileSystem(),
    path,
    codecs: nodeCodecs(),
    write: (line) => terminal.writeLine(line),
  })
  terminal.say(`${summary.batches} batches, ${summary.records} records, ${summary.tailBytes} bytes of a torn tail`)
  if (summary.damages > 0)
    throw new MillraceError('CORRUPT_MESSAGE', `${path}: ${summary.damages} damaged places; see the lines above`)
}
