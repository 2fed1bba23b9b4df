/**
 * `millrace verify DATA-DIR [--repair [--accept-loss]]`: checks every batch and index of a stopped broker's data. Findings go to stdout, a line
 * each; exit code 1 when records are damaged. What can be rebuilt (an index) and a torn tail are findings, no damage.
 *
 * Interrupt   ends the process at once: the walk is synchronous, so that no listener would run. A repair that is cut off leaves what a
 *             start that was killed leaves, which the next one takes up
 */
import '../../base/node/native-crc32c.ts'
import { systemProcessProbe } from '../../base/node/process-probe.ts'
import { NodeFileSystem } from '../../io/node-file-system.ts'
import { listPartitionFolders } from '../../log/data-dir.ts'
import { MillraceError } from '../../model/errors.ts'
import { type VerifyLogSummary, verifyLog } from '../../tools/verify-log.ts'
import { UsageError } from '../errors.ts'
import { checkedFolder } from '../files.ts'
import { Progress } from '../progress.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'
import { counted } from '../words.ts'

export async function verify(
  terminal: Terminal,
  flags: GlobalOptions & { readonly repair?: boolean; readonly acceptLoss?: boolean },
  dataDir: string,
): Promise<void> {
  checkedFolder('data dir', dataDir)
  const isLossAccepted = flags.acceptLoss === true
  if (isLossAccepted && flags.repair !== true)
    throw new UsageError('--accept-loss: only a repair loses anything; add --repair')
  const files = new NodeFileSystem()
  const totalBytes = segmentBytes(files, dataDir)
  const progress = await Progress.start(terminal.progressStream, { what: 'verifying', totalBytes })
  terminal.release()
  terminal.signal.throwIfAborted()
  const lines: string[] = [] // written when the bar is gone
  let summary: VerifyLogSummary
  try {
    summary = verifyLog({
      ...{ files, dataDir, probe: systemProcessProbe(), repair: flags.repair === true, acceptLoss: isLossAccepted },
      write: (line) => void lines.push(line),
      onBytes: (bytes) => progress.add(bytes),
    })
  } finally {
    progress.end()
    for (const line of lines) writeFinding(terminal, line)
  }
  const { partitions, segments, batches, bytes, damages, findings, repaired, refetched } = summary
  const megabytes = (bytes / 1e6).toFixed(1)
  terminal.say(
    `${counted(partitions, 'partition')}, ${counted(segments, 'segment')}, ${batches} batches, ${megabytes} MB checked`,
  )
  if (repaired > refetched)
    terminal.say(`${counted(repaired - refetched, 'partition')} cut; what they lost is told above`)
  if (refetched > 0)
    terminal.say(`${counted(refetched, 'replica')} will begin anew from the leader when the broker starts`)
  if (damages > 0) {
    const hint =
      flags.repair === true
        ? isLossAccepted
          ? ''
          : '; --accept-loss cuts these logs at their damage: all behind it is lost here'
        : '; --repair mends what can be mended, and cuts an offline log at its damage, so that the rest can be served'
    throw new MillraceError(
      'CORRUPT_MESSAGE',
      `${counted(damages, 'damaged place')} (${counted(findings, 'finding')})${hint}`,
    )
  }
  terminal.say(findings === 0 ? 'sound' : `sound; a start mends ${counted(findings, 'finding')} by itself`)
}

/** What there is to look at. */
function segmentBytes(files: NodeFileSystem, dataDir: string): number {
  let bytes = 0
  for (const { name } of listPartitionFolders(files, dataDir))
    for (const file of files.list(`${dataDir}/${name}`)) {
      const stat = file.endsWith('.log') ? files.stat(`${dataDir}/${name}/${file}`) : undefined
      if (stat?.kind === 'file') bytes += stat.bytes
    }
  return bytes
}

/** The tool speaks JSON lines; people get the same as `key=value`. */
function writeFinding(terminal: Terminal, line: string): void {
  const finding = JSON.parse(line) as Record<string, unknown>
  if (terminal.isJson) terminal.writeLine(line)
  else if (finding.type !== 'summary')
    terminal.writeLine(
      Object.entries(finding)
        .map(([key, value]) =>
          key === 'type' ? String(value) : `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
        )
        .join(' '),
    )
}
