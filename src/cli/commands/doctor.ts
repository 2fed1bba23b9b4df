/**
 * `millrace doctor`: whether this machine is fit for a broker with this configuration, and what to do where it is not. A line
 * a check on stdout; exit code 1 when one fails, 0 with warnings.
 */
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { planThreads, resolveConfig } from '../../config/index.ts'
import { type ConfigFlags, configInputOf } from '../config-input.ts'
import type { Diagnosis, DiagnosisStatus, Patient } from '../doctor/diagnosis.ts'
import { checkDataDir, checkFreeSpace, checkSync } from '../doctor/disk-checks.ts'
import {
  checkClock,
  checkCores,
  checkEngine,
  checkMemory,
  checkNativeLibraries,
  checkNode,
  checkNpm,
  checkOpenFiles,
} from '../doctor/machine-checks.ts'
import { checkKafkaPort, checkListenPort } from '../doctor/port-checks.ts'
import type { Terminal } from '../terminal.ts'
import { counted } from '../words.ts'

export async function doctor(terminal: Terminal, flags: ConfigFlags): Promise<void> {
  const config = resolveConfig(configInputOf(flags, process.env))
  const threads = planThreads(config, availableParallelism())
  const { signal } = terminal
  const patient: Patient = { config, threads, dataDir: resolve(config.dataDir), signal }
  const dataDir = checkDataDir(patient)
  const checks: (() => Diagnosis | Promise<Diagnosis>)[] = [
    () => checkNode(),
    checkNpm,
    () => checkEngine(patient),
    checkNativeLibraries,
    () => checkCores(patient),
    () => checkMemory(patient),
    () => checkOpenFiles(patient, dataDir.partitions),
    () => checkClock(dataDir.newestMs),
    () => dataDir.diagnosis,
    () => checkFreeSpace(patient),
    () => checkSync(patient),
    () => checkListenPort(patient),
    () => checkKafkaPort(patient),
  ]
  const counts: Record<DiagnosisStatus, number> = { ok: 0, warn: 0, fail: 0 }
  for (const check of checks) {
    const diagnosis = await check()
    signal.throwIfAborted()
    counts[diagnosis.status]++
    if (terminal.isJson) terminal.writeJson(diagnosis)
    else for (const line of linesOf(diagnosis, terminal)) terminal.writeLine(line)
  }
  if (counts.fail > 0) throw new Error(`${counts.fail} of ${checks.length} checks failed; the fixes stand beside them`)
  terminal.say(counts.warn === 0 ? 'fit for a broker' : `fit for a broker; ${counted(counts.warn, 'warning')}`)
}

const COLOR: Readonly<Record<DiagnosisStatus, number>> = { ok: 32, warn: 33, fail: 31 }
const CHECK_WIDTH = 10

function linesOf({ check, status, text, fix }: Diagnosis, terminal: Terminal): string[] {
  const mark = terminal.paint(status.padEnd(4), COLOR[status])
  const lines = [`${mark}  ${check.padEnd(CHECK_WIDTH)}  ${text}`]
  if (fix !== undefined) lines.push(`${' '.repeat(6 + CHECK_WIDTH)}  fix: ${fix}`)
  return lines
}
