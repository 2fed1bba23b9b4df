/** `millrace verify DATA-DIR [--repair]`: findings as JSON lines. Exit code 1 when records are lost. */
import '../../base/node/native-crc32c.ts'
import { existsSync } from 'node:fs'
import { systemProcessProbe } from '../../base/node/process-probe.ts'
import { NodeFileSystem } from '../../io/node-file-system.ts'
import { DataDirError } from '../../log/data-dir.ts'
import { MillraceError } from '../../model/errors.ts'
import { verifyLog } from '../../tools/verify-log.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'

interface VerifyFlags extends GlobalOptions {
  readonly repair?: boolean
}

export async function verify(terminal: Terminal, flags: VerifyFlags, dataDir: string): Promise<void> {
  if (!existsSync(dataDir)) throw new MillraceError('RESOURCE_NOT_FOUND', `there is no folder '${dataDir}'`)
  try {
    const summary = verifyLog({
      files: new NodeFileSystem(),
      dataDir,
      probe: systemProcessProbe(),
      repair: flags.repair === true,
      write: (line) => terminal.writeLine(line),
    })
    const { partitions, segments, batches, damages, findings, repaired } = summary
    terminal.say(
      `${partitions} partitions, ${segments} segments, ${batches} batches; ${findings} findings, ${repaired} repaired`,
    )
    if (damages > 0)
      throw new MillraceError('CORRUPT_MESSAGE', `${dataDir}: ${damages} places have lost records; see the lines above`)
  } catch (error) {
    if (error instanceof DataDirError) throw new MillraceError('INVALID_REQUEST', error.message, { cause: error })
    throw error
  }
}
