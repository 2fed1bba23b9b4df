/**
 * verifyLog: looks at every byte of a stopped broker's data dir: `millrace verify DATA-DIR [--repair]`.
 *
 * One JSON line a finding (`"type":"finding"`), with --repair then one for each partition that was cut (`"repaired"`) and for
 * each note of the recovery (`"note"`), last a `"summary"`. After a repair the data dir is verified again; what begins anew from its leader
 * is no damage any more.
 *
 * Thread   a process of its own; without repair it writes nothing
 * Failure  DataDirError: in use, no data dir; StorageError. Findings are output, and counted in the summary
 */
import type { FileSystem } from '../io/file-system.ts'
import { DataDirError, type ProcessProbe, readIdentity } from '../log/data-dir.ts'
import { repairDataDir } from '../log/log-repair.ts'
import { type VerifyReport, verifyDataDir } from '../log/log-verify.ts'

export interface VerifyLogOptions {
  readonly files: FileSystem
  readonly dataDir: string
  readonly probe: ProcessProbe
  readonly repair: boolean
  /** With repair: what cannot be mended is cut, and what is left of it counts as all there is. */
  readonly acceptLoss?: boolean
  /** Given one line of JSON at a time, without its line end. */
  readonly write: (line: string) => void
  /** Told of bytes that were looked at; after a repair once more. */
  readonly onBytes?: (bytes: number) => void
}

export interface VerifyLogSummary {
  readonly partitions: number
  readonly segments: number
  readonly batches: number
  readonly bytes: number
  /** Lost records; with repair: those that are still there afterwards. */
  readonly damages: number
  /** Everything that was found, rebuildable files and unsettled tails included. */
  readonly findings: number
  /** Partitions that repair cut. */
  readonly repaired: number
  /** Of those: what begins anew from its leader at the next start. */
  readonly refetched: number
}

export function verifyLog(options: VerifyLogOptions): VerifyLogSummary {
  const { files, dataDir, probe, onBytes } = options
  const what = { dataDir, probe, ...(onBytes === undefined ? {} : { onBytes }) }
  let report = verifyDataDir(files, what)
  writeFindings(options, report)
  let repaired = 0
  const refetched = new Set<string>()
  if (options.repair) {
    const identity = readIdentity(files, dataDir)
    if (identity === undefined) throw new DataDirError('NOT_A_DATA_DIR', `'${dataDir}' is no data dir`)
    const repair = repairDataDir(files, {
      ...{ dataDir, probe, nodeId: identity.nodeId, isLossAccepted: options.acceptLoss === true },
    })
    for (const entry of repair.repaired) options.write(JSON.stringify({ type: 'repaired', ...entry }))
    for (const { folder, isRefetched } of repair.repaired) if (isRefetched) refetched.add(folder)
    for (const text of repair.notes) options.write(JSON.stringify({ type: 'note', text }))
    repaired = repair.repaired.length
    const after = verifyDataDir(files, what)
    const findings = after.findings.filter(({ file }) => !refetched.has(file.split('/')[0]!))
    report = { ...after, findings }
    writeFindings(options, report)
  }
  const { partitions, segments, batches, bytes, findings } = report
  const damages = findings.filter((finding) => finding.kind === 'damage').length
  const summary = {
    ...{ partitions, segments, batches, bytes, damages },
    ...{ findings: findings.length, repaired, refetched: refetched.size },
  }
  options.write(JSON.stringify({ type: 'summary', ...summary }))
  return summary
}

function writeFindings(options: VerifyLogOptions, report: VerifyReport): void {
  for (const finding of report.findings) options.write(JSON.stringify({ type: 'finding', ...finding }))
}
