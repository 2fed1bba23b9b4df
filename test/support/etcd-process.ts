/**
 * Real etcd for tests: Debian's `etcd-server`, found on the machine, else installed where that is wanted (CI=true, root), else absent
 * with a reason that the skip names. A cluster of one member or three, on free ports of loopback, with data folders of its own.
 *
 * Owns     the processes and their folder: close() ends and removes both, and no member outlives this process
 * Limits   READY_MS_MAX until all members answer
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Etcd3, type IOptions } from 'etcd3'
import { sleep, until } from './until.ts'

export type FoundEtcd =
  | { readonly kind: 'found'; readonly program: string }
  | { readonly kind: 'absent'; readonly reason: string }

export const ROOT_PASSWORD = 'only-for-tests'
const INSTALL_MS_MAX = 300_000
const READY_MS_MAX = 60_000
const CALL_MS_MAX = 5_000
const TALK_CHARS_MAX = 16 * 1024

/** MILLRACE_ETCD, or `etcd`. */
export function findEtcd(): FoundEtcd {
  const given = process.env.MILLRACE_ETCD
  const program = given === undefined || given === '' ? 'etcd' : given
  if (spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0) return { kind: 'found', program }
  if (process.env.CI !== 'true' || process.getuid?.() !== 0)
    return { kind: 'absent', reason: 'no etcd here (apt-get install etcd-server, or set MILLRACE_ETCD)' }
  return install()
}

function install(): FoundEtcd {
  try {
    const options = {
      stdio: 'pipe',
      timeout: INSTALL_MS_MAX,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    } as const
    execFileSync('apt-get', ['update', '-qq'], options)
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'etcd-server', 'openssl'], options)
    return { kind: 'found', program: 'etcd' }
  } catch (error) {
    return { kind: 'absent', reason: `etcd could not be installed: ${String(error).slice(0, 300)}` }
  }
}

export interface EtcdClusterOptions {
  readonly program: string
  readonly members?: 1 | 3
  /** Clients must present a certificate that `ca` signed, and check etcd's against it. */
  readonly tls?: boolean
  /** Authentication is on, with the user root. */
  readonly password?: string
}

/** What a client needs for TLS, PEM texts. */
export interface TestCertificates {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

interface Member {
  readonly name: string
  readonly clientPort: number
  readonly peerPort: number
  child: ChildProcess | undefined
  exited: Promise<void>
  /** It is running, as far as the test wants. */
  isWanted: boolean
  isPaused: boolean
  talk: string
}

export class EtcdCluster {
  readonly #options: EtcdClusterOptions
  readonly #folder: string
  readonly #members: Member[]
  readonly certificates: TestCertificates | undefined
  #admin: Etcd3 | undefined

  private constructor(options: EtcdClusterOptions, folder: string, members: Member[]) {
    this.#options = options
    this.#folder = folder
    this.#members = members
    this.certificates = options.tls === true ? makeCertificates(folder) : undefined
  }

  static async start(options: EtcdClusterOptions): Promise<EtcdCluster> {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-etcd-'))
    const ports = await freePorts(2 * (options.members ?? 1))
    const members = Array.from({ length: options.members ?? 1 }, (_, index) => ({
      name: `m${index}`,
      clientPort: ports[2 * index]!,
      peerPort: ports[2 * index + 1]!,
      child: undefined,
      exited: Promise.resolve(),
      isWanted: false,
      isPaused: false,
      talk: '',
    }))
    const cluster = new EtcdCluster(options, folder, members)
    try {
      for (let index = 0; index < members.length; index++) cluster.#spawn(index)
      await cluster.ready()
      if (options.password !== undefined) await cluster.#enableAuthentication(options.password)
      return cluster
    } catch (error) {
      await cluster.close()
      throw error
    }
  }

  get urls(): string[] {
    return this.#members.map(({ clientPort }) => this.#url(clientPort))
  }

  get ports(): number[] {
    return this.#members.map(({ clientPort }) => clientPort)
  }

  /** A client of the test's own, which does what the store does not: compaction, removing everything. */
  admin(): Etcd3 {
    this.#admin ??= new Etcd3(this.#clientOptions(this.#options.password))
    return this.#admin
  }

  async removeAll(): Promise<void> {
    await this.admin().delete().all()
  }

  /** Forgets everything before the revision of now. */
  async compact(): Promise<void> {
    const { header } = await this.admin().kv.range({ key: Buffer.from('/') })
    await this.admin().kv.compact({ revision: header.revision, physical: true })
  }

  /** Waits until every member that should run answers: one that has just been started has no part in the others' majority yet. */
  async ready(): Promise<void> {
    await until('answer from etcd', READY_MS_MAX, async () => {
      const ended = this.#members.find(({ child, isWanted }) => isWanted && child === undefined)
      if (ended !== undefined) throw new Error(`etcd ended by itself:\n${ended.talk}`)
      for (const { clientPort, isWanted, isPaused } of this.#members)
        if (isWanted && !isPaused && !(await this.#answers(this.#url(clientPort)))) return false
      return true
    })
  }

  /** kill -9. */
  async kill(index: number): Promise<void> {
    await this.#end(index, 'SIGKILL')
  }

  /** SIGTERM. */
  async stop(index: number): Promise<void> {
    await this.#end(index, 'SIGTERM')
  }

  /** SIGSTOP: the process stands still, its sockets stay open. */
  pause(index: number): void {
    this.#setPaused(index, true)
  }

  resume(index: number): void {
    this.#setPaused(index, false)
  }

  #setPaused(index: number, isPaused: boolean): void {
    const member = this.#members[index]!
    member.isPaused = isPaused
    member.child?.kill(isPaused ? 'SIGSTOP' : 'SIGCONT')
  }

  /** Again, on its data and its ports. */
  async restart(index: number): Promise<void> {
    this.#spawn(index)
    await this.ready()
  }

  async close(): Promise<void> {
    this.#admin?.close()
    for (let index = 0; index < this.#members.length; index++) await this.kill(index)
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  }

  async #end(index: number, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const member = this.#members[index]!
    member.isWanted = false
    member.child?.kill(signal)
    await member.exited
  }

  #url(port: number): string {
    // By name, with TLS: a server name that is an address is against RFC 6066, and Node warns.
    return this.#options.tls === true ? `https://localhost:${port}` : `http://127.0.0.1:${port}`
  }

  #spawn(index: number): void {
    const member = this.#members[index]!
    const client = this.#url(member.clientPort)
    const peer = `http://127.0.0.1:${member.peerPort}`
    const initial = this.#members.map(({ name, peerPort }) => `${name}=http://127.0.0.1:${peerPort}`)
    const listen = client.replace('localhost', '127.0.0.1')
    const flags = [
      ...['--name', member.name, '--data-dir', join(this.#folder, member.name)],
      ...['--listen-client-urls', listen, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', initial.join(','), '--initial-cluster-state', 'new'],
      ...['--initial-cluster-token', this.#folder, '--logger', 'zap', '--log-level', 'warn'],
      ...(this.#options.tls === true ? this.#tlsFlags() : []),
    ]
    const child = spawn(this.#options.program, flags, { stdio: ['ignore', 'ignore', 'pipe'] })
    const killWithUs = (): void => void child.kill('SIGKILL')
    process.once('exit', killWithUs)
    member.child = child
    member.isWanted = true
    member.isPaused = false
    member.talk = ''
    member.exited = new Promise((resolve) => {
      const end = (): void => {
        process.off('exit', killWithUs)
        if (member.child === child) member.child = undefined
        resolve()
      }
      child.once('error', end)
      child.once('exit', end)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      member.talk = (member.talk + chunk.toString()).slice(-TALK_CHARS_MAX)
    })
  }

  #tlsFlags(): string[] {
    const at = (name: string): string => join(this.#folder, name)
    return [
      ...['--cert-file', at('server.crt'), '--key-file', at('server.key')],
      ...['--trusted-ca-file', at('ca.crt'), '--client-cert-auth'],
    ]
  }

  async #answers(url: string): Promise<boolean> {
    const probe = new Etcd3({ ...this.#clientOptions(undefined), hosts: [url] })
    try {
      await probe.kv.range({ key: Buffer.from('/') }, { deadline: Date.now() + CALL_MS_MAX })
      return true
    } catch (error) {
      // With authentication on, that is an answer too. (The name in a certificate counts as a user.)
      return /user name is empty|permission denied/.test(String(error))
    } finally {
      probe.close()
    }
  }

  #clientOptions(password: string | undefined): IOptions {
    return {
      hosts: this.urls,
      defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + CALL_MS_MAX }),
      ...(this.certificates === undefined
        ? {}
        : {
            credentials: {
              rootCertificate: Buffer.from(this.certificates.ca),
              certChain: Buffer.from(this.certificates.cert),
              privateKey: Buffer.from(this.certificates.key),
            },
          }),
      ...(password === undefined ? {} : { auth: { username: 'root', password } }),
    }
  }

  async #enableAuthentication(password: string): Promise<void> {
    const client = new Etcd3(this.#clientOptions(undefined))
    try {
      await client.auth.userAdd({ name: 'root', password })
      await client.role('root').create()
      await client.auth.userGrantRole({ user: 'root', role: 'root' })
      await client.auth.authEnable()
    } finally {
      client.close()
    }
  }
}

/** An authority, and of it a certificate for etcd at localhost and one for a client. */
function makeCertificates(folder: string): TestCertificates {
  const openssl = (...words: string[]): void => void execFileSync('openssl', words, { cwd: folder, stdio: 'pipe' })
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl('req', '-x509', ...ec, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=millrace test authority')
  for (const name of ['server', 'client']) {
    const [key, request, certificate, extensions] = ['key', 'csr', 'crt', 'ext'].map((end) => `${name}.${end}`) as [
      string,
      string,
      string,
      string,
    ]
    writeFileSync(join(folder, extensions), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
    openssl('req', ...ec, '-keyout', key, '-out', request, '-subj', `/CN=${name}`)
    const signed = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', extensions]
    openssl('x509', '-req', '-in', request, '-out', certificate, '-days', '2', ...signed)
  }
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8')
  return { ca: read('ca.crt'), cert: read('client.crt'), key: read('client.key') }
}

/** Free now: held open together, so that all differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  await sleep(0)
  return ports
}
