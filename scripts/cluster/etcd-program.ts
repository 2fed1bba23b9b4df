/**
 * etcd: from MILLRACE_ETCD, the PATH, or Debian's package, which is installed where that is possible without asking anybody.
 *
 * Limits    an installation takes INSTALL_MS_MAX at most
 * Failure   an Error that says what to install
 */
import { spawnSync } from 'node:child_process'

const INSTALL_MS_MAX = 300_000
const PACKAGE = 'etcd-server'

export function findEtcd(say: (line: string) => void): string {
  const given = process.env.MILLRACE_ETCD ?? ''
  const program = given === '' ? 'etcd' : given
  if (answers(program)) return program
  if (given !== '') throw new Error(`MILLRACE_ETCD: '${given} --version' fails: name etcd's executable`)
  const advice = `install etcd 3.4 or later (Debian: apt-get install ${PACKAGE}) or name its executable in MILLRACE_ETCD`
  if (process.getuid?.() !== 0 || !answers('apt-get')) throw new Error(`there is no etcd on this machine: ${advice}`)
  say(`installing etcd (apt-get install ${PACKAGE}) …`)
  const fault = apt('update') ?? apt('install', '--yes', '--no-install-recommends', PACKAGE)
  if (fault !== undefined || !answers(program))
    throw new Error(`etcd could not be installed: ${fault ?? ''}\n${advice}`)
  return program
}

function answers(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0
}

/** Undefined, or the end of what it said. */
function apt(...words: string[]): string | undefined {
  const { status, error, stderr } = spawnSync('apt-get', ['-qq', ...words], {
    ...{ stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8', timeout: INSTALL_MS_MAX },
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
  return status === 0 ? undefined : (error?.message ?? stderr.trim().slice(-500))
}
