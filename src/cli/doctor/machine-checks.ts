/** What of the machine a broker depends on: Node, npm, native parts, descriptors, cores, memory, clock. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { crc32c } from '@node-rs/crc32'
import { probeUwsEngine } from '../../broker/listeners/uws-engine.ts'
import { CODEC_NAMES } from '../../record/compression.ts'
import { nodeCodecs } from '../../record/node-codecs.ts'
import { counted } from '../words.ts'
import type { Diagnosis, Patient } from './diagnosis.ts'

const NODE_MIN = [20, 19] as const
/** Below it a Node line gets no security fixes any more, or soon will not. */
const NODE_MAJOR_RECOMMENDED = 24
const NPM_TIMEOUT_MS = 15_000

export function checkNode(version = process.versions.node): Diagnosis {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const fix = `install Node ${NODE_MAJOR_RECOMMENDED}: https://nodejs.org/en/download`
  const isTooOld = major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1])
  if (isTooOld) return { check: 'node', status: 'fail', text: `${version}, ${NODE_MIN.join('.')} is the least`, fix }
  const isOld = major < NODE_MAJOR_RECOMMENDED
  const text = isOld ? `${version} (${NODE_MAJOR_RECOMMENDED} is recommended)` : version
  return { check: 'node', status: 'ok', text, facts: { version } }
}

export function checkNpm(): Diagnosis {
  const options = { encoding: 'utf8', timeout: NPM_TIMEOUT_MS, shell: process.platform === 'win32' } as const
  const { status, stdout } = spawnSync('npm', ['--version'], options)
  const version = status === 0 ? stdout.trim() : ''
  if (version !== '') return { check: 'npm', status: 'ok', text: version, facts: { version } }
  const fix = 'install npm, or start the broker with node dist/src/cli/main.js start'
  return { check: 'npm', status: 'warn', text: 'not found: npm start and npx millrace need it', fix }
}

export async function checkEngine({ config }: Patient): Promise<Diagnosis> {
  const hasNative = (await probeUwsEngine()) !== undefined
  const facts = { native: hasNative, configured: config.engine }
  if (hasNative && config.engine !== 'ws')
    return { check: 'websocket', status: 'ok', text: 'uWebSockets.js, native', facts }
  const fix =
    'npm install --no-save uNetworking/uWebSockets.js#v20.52.0 (or any version that has a build for this Node)'
  if (config.engine === 'uws')
    return {
      check: 'websocket',
      status: 'fail',
      text: 'listeners.ws.engine is uws, and it has no build here',
      fix,
      facts,
    }
  if (hasNative)
    return { check: 'websocket', status: 'ok', text: 'ws, as configured; the native one is there too', facts }
  const text = `ws: uWebSockets.js has no native build for Node ${process.versions.node} here; it is faster`
  return { check: 'websocket', status: 'warn', text, fix, facts }
}

/** The native libraries load, and the checksum is the right one ("123456789", RFC 3720 appendix B.4's polynomial). */
export function checkNativeLibraries(): Diagnosis {
  const faults: string[] = []
  if (crc32c('123456789') !== 0xe3069283) faults.push('crc32c computes wrong sums')
  const codecs = nodeCodecs()
  for (const name of CODEC_NAMES) {
    if (name === 'none') continue
    try {
      if (codecs.find(name) === undefined) faults.push(`there is no ${name}`)
    } catch (error) {
      faults.push(error instanceof Error ? error.message : String(error))
    }
  }
  if (faults.length === 0)
    return {
      check: 'libraries',
      status: 'ok',
      text: `crc32c, ${CODEC_NAMES.filter((name) => name !== 'none').join(', ')}`,
    }
  const fix = 'npm ci --ignore-scripts, on the machine and with the Node that run the broker'
  return { check: 'libraries', status: 'fail', text: faults.join('; '), fix }
}

/** Descriptors that Node and its libraries hold before the first connection. */
const FILES_BASE = 64
/** A partition holds its active segment and its two indexes; a closed segment kept open is as many. */
const FILES_PER_SEGMENT = 3

export function checkOpenFiles({ config, threads }: Patient, partitions: number, limit = openFilesLimit()): Diagnosis {
  if (limit === undefined) return { check: 'files', status: 'ok', text: 'the limit is not known on this system' }
  const forStorage = FILES_BASE + FILES_PER_SEGMENT * (partitions + threads.shards * config.storage.openFilesMax)
  const wanted = forStorage + config.limits.connections
  const facts = { limit: Number.isFinite(limit) ? limit : null, wanted, partitions }
  const shown = Number.isFinite(limit) ? String(limit) : 'no limit'
  const needs = `${counted(partitions, 'partition')} and ${config.limits.connections} connections may want ${wanted}`
  if (limit >= wanted) return { check: 'files', status: 'ok', text: `${shown} open files; ${needs}`, facts }
  const fix = `ulimit -n ${wanted}, or LimitNOFILE=${wanted} in its systemd unit, or a smaller limits.connections`
  const status = limit < forStorage ? 'fail' : 'warn'
  return { check: 'files', status, text: `${shown} open files at most; ${needs}`, fix, facts }
}

/** As this process has it: Node raises its own soft limit to the hard one. Infinity = none. */
function openFilesLimit(): number | undefined {
  const columns = /^Max open files\s+(\S+)/m.exec(textOf('/proc/self/limits'))
  if (columns === null) return undefined
  return columns[1] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(columns[1])
}

export function checkCores(
  { config, threads }: Patient,
  cores = availableParallelism(),
  quota = cpuQuota(),
): Diagnosis {
  const facts = { cores, quota: quota ?? null, shards: threads.shards, spin: threads.spinMicroseconds > 0 }
  const plan = `${cores} cores: one thread for sockets, ${counted(threads.shards, 'shard')}`
  if (quota !== undefined && quota < cores && config.shards === 'auto' && threads.shards > Math.max(1, quota - 1)) {
    const fix = `--shards ${Math.max(1, Math.floor(quota) - 1)}`
    return { check: 'cores', status: 'warn', text: `${plan}, but the container may use ${quota} only`, fix, facts }
  }
  if (threads.isSpinRefused) {
    const fix = `the profile latency wants more than ${1 + 2 * threads.shards} cores for ${counted(threads.shards, 'shard')}`
    return { check: 'cores', status: 'warn', text: `${plan}; too few for shard.wait: spin, threads sleep`, fix, facts }
  }
  if (threads.shards >= cores && cores > 1) {
    const fix = 'shards: auto, or at most one shard less than there are cores'
    return { check: 'cores', status: 'warn', text: `${plan}: they take turns`, fix, facts }
  }
  return { check: 'cores', status: 'ok', text: plan, facts }
}

/** Cores that the control group may use (cgroup v2 cpu.max: quota and period, microseconds). */
function cpuQuota(): number | undefined {
  const [quota, period] = textOf('/sys/fs/cgroup/cpu.max').trim().split(' ').map(Number)
  return quota !== undefined && period !== undefined && quota > 0 && period > 0 ? quota / period : undefined
}

/** A broker without any buffers: the heaps of its threads and what Node itself takes. */
const BASE_BYTES = 150 * 1024 * 1024

export function checkMemory({ config, threads }: Patient, memoryBytes = memoryOfMachine()): Diagnosis {
  const { rings, pages, limits } = config
  const perShard = rings.requestBytes + rings.replyBytes + pages.poolBytes
  const mostBytes = BASE_BYTES + threads.shards * perShard + limits.receiveBytes + limits.sendBytes
  const facts = { memoryBytes, mostBytes }
  const text = `${mibOf(mostBytes)} at most for a broker, of ${mibOf(memoryBytes)}`
  const fix = 'smaller pages.poolBytes, limits.receiveBytes and limits.sendBytes, fewer shards, or more memory'
  if (mostBytes > memoryBytes) return { check: 'memory', status: 'fail', text, fix, facts }
  // Half is the page cache's: what consumers read is mostly still there.
  if (mostBytes > memoryBytes / 2) return { check: 'memory', status: 'warn', text, fix, facts }
  return { check: 'memory', status: 'ok', text, facts }
}

/** The machine's memory, or what the control group allows of it. */
function memoryOfMachine(): number {
  const limit = Number(textOf('/sys/fs/cgroup/memory.max').trim() || Number.NaN)
  return Number.isFinite(limit) && limit > 0 ? Math.min(limit, totalmem()) : totalmem()
}

function mibOf(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`
}

/** No machine that runs this is older: an earlier time is a clock that was never set. */
const EARLIEST_MS = Date.UTC(2026, 0, 1)
const SLOW_CLOCKS = ['acpi_pm', 'hpet', 'jiffies', 'refined-jiffies']

/** Records are stamped and kept by it. `newestMs` = the latest time that the data dir has seen. */
export function checkClock(newestMs: number | undefined, nowMs = Date.now(), source = clockSource()): Diagnosis {
  const time = new Date(nowMs).toISOString()
  const facts = { time, source }
  const fix = 'synchronise the clock (chrony, systemd-timesyncd)'
  if (nowMs < EARLIEST_MS) return { check: 'clock', status: 'fail', text: `${time} is long past`, fix, facts }
  if (newestMs !== undefined && newestMs > nowMs + 60_000) {
    const text = `${time} is before the last write of the data dir, ${new Date(newestMs).toISOString()}`
    return { check: 'clock', status: 'warn', text, fix, facts }
  }
  if (SLOW_CLOCKS.includes(source)) {
    const text = `${time}; the kernel reads it from ${source}, which is slow`
    return { check: 'clock', status: 'warn', text, fix: 'clocksource=tsc among the arguments of the kernel', facts }
  }
  return { check: 'clock', status: 'ok', text: source === '' ? time : `${time}, read from ${source}`, facts }
}

function clockSource(): string {
  return textOf('/sys/devices/system/clocksource/clocksource0/current_clocksource').trim()
}

/** '' where there is no such file: another system, or a container that hides it. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
