/**
 * Laboratory: runs a program of this folder with a network, mounts and process numbers of its own, where it is root and alone.
 *
 * Owns      nothing that outlives the program: when it ends, or is killed, the kernel ends every process it started and takes its
 *           network, its mounts and its namespaces away
 * Failure   no Linux, not root, no unshare, ip or nft: { kind: 'unavailable', reason }, for a visible skip. With CI=true the programs
 *           are installed
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { repositoryRoot } from '../repository.ts'

export type Laboratory = { readonly kind: 'ready' } | { readonly kind: 'unavailable'; readonly reason: string }

export interface LaboratoryRun {
  readonly program: string
  readonly plan: object
  readonly timeoutMs: number
  /** Each line of its stdout. */
  readonly onLine: (line: string) => void
}

const INSTALL_MS_MAX = 300_000
const PROBE_MS_MAX = 10_000
const TALK_CHARS_MAX = 64 * 1024
const UNSHARE = ['--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child']
/** /run/netns is a mount of its own, so that names of namespaces are seen by nobody else. */
const PREPARE = 'mkdir -p /run/netns && mount -t tmpfs -o mode=755 tmpfs /run/netns'
const PROBE = `${PREPARE} && ip netns add probe && ip netns exec probe nft list ruleset && ip link add probe0 type veth peer name probe1`

export function findLaboratory(): Laboratory {
  if (process.platform !== 'linux') return { kind: 'unavailable', reason: `no namespaces on ${process.platform}` }
  if (process.getuid?.() !== 0) return { kind: 'unavailable', reason: 'network namespaces take root' }
  if (process.env.CI === 'true') installTools()
  const probe = spawnSync('unshare', [...UNSHARE, 'sh', '-c', PROBE], { encoding: 'utf8', timeout: PROBE_MS_MAX })
  if (probe.status === 0) return { kind: 'ready' }
  const said = (probe.error?.message ?? probe.stderr).trim().slice(0, 500)
  return { kind: 'unavailable', reason: `no network namespaces (apt-get install iproute2 nftables): ${said}` }
}

function installTools(): void {
  if (['ip', 'nft'].every((program) => spawnSync(program, ['-V'], { stdio: 'ignore' }).status === 0)) return
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const options = { stdio: 'pipe', timeout: INSTALL_MS_MAX, env } as const
  try {
    execFileSync('apt-get', ['update', '-qq'], options)
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'iproute2', 'nftables'], options)
  } catch {
    // The probe says what is missing.
  }
}

/** Resolves with its exit code and the end of its stderr; killed after `timeoutMs`. */
export function runInLaboratory(run: LaboratoryRun): Promise<{ readonly code: number | null; readonly talk: string }> {
  const script = join(repositoryRoot, 'dist', 'test', 'support', 'chaos', run.program)
  // exec: the program is the first process of its namespace, and all others end with it.
  const words = [...UNSHARE, 'sh', '-c', `${PREPARE} && exec "$@"`, 'sh', process.execPath, script]
  const child = spawn('unshare', [...words, JSON.stringify(run.plan)], { stdio: ['ignore', 'pipe', 'pipe'] })
  const killWithUs = (): void => void child.kill('SIGKILL')
  process.once('exit', killWithUs)
  const timer = setTimeout(killWithUs, run.timeoutMs)
  return outcomeOf(child, run.onLine).finally(() => {
    clearTimeout(timer)
    process.off('exit', killWithUs)
  })
}

function outcomeOf(
  child: ChildProcess,
  onLine: (line: string) => void,
): Promise<{ code: number | null; talk: string }> {
  let talk = ''
  child.stderr!.on('data', (chunk: Buffer) => {
    talk = (talk + chunk.toString()).slice(-TALK_CHARS_MAX)
  })
  createInterface({ input: child.stdout! }).on('line', onLine)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, talk }))
  })
}
