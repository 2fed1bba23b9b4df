/**
 * EtcdHosts: three members of a real etcd, each on a host of its own; killed, paused and started again one by one.
 *
 * Owns      the processes and their folders below `folder`
 * Limits    READY_MS_MAX until a majority answers
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { sleep, until } from '../until.ts'
import { addressOf, type Network } from './network.ts'

const CLIENT_PORT = 2379
const PEER_PORT = 2380
const READY_MS_MAX = 60_000
const ASK_MS_MAX = 1_000
const TALK_CHARS_MAX = 16 * 1024

interface Member {
  readonly host: number
  child: ChildProcess | undefined
  exited: Promise<void>
  talk: string
}

export class EtcdHosts {
  readonly hosts: readonly number[]
  readonly #network: Network
  readonly #program: string
  readonly #folder: string
  readonly #members: readonly Member[]

  constructor(network: Network, { program, folder, hosts }: { program: string; folder: string; hosts: number[] }) {
    this.#network = network
    this.#program = program
    this.#folder = folder
    this.hosts = hosts
    this.#members = hosts.map((host) => ({ host, child: undefined, exited: Promise.resolve(), talk: '' }))
    for (const host of hosts) network.add(host)
  }

  get urls(): string[] {
    return this.hosts.map((host) => `http://${addressOf(host)}:${CLIENT_PORT}`)
  }

  async start(): Promise<void> {
    for (const host of this.hosts) this.startMember(host)
    await this.ready()
  }

  startMember(host: number): void {
    const member = this.#memberOn(host)
    const [first = '', ...words] = [...this.#network.launcherOf(host), this.#program, ...this.#flagsOf(host)]
    const child = spawn(first, words, { stdio: ['ignore', 'ignore', 'pipe'] })
    member.child = child
    member.exited = new Promise((resolve) => child.once('close', () => resolve()))
    child.stderr.on('data', (chunk: Buffer) => {
      member.talk = (member.talk + chunk.toString()).slice(-TALK_CHARS_MAX)
    })
  }

  /** kill -9. */
  async kill(host: number): Promise<void> {
    const member = this.#memberOn(host)
    member.child?.kill('SIGKILL')
    await member.exited
    member.child = undefined
  }

  /** Until a majority is up: a member answers `healthy` only when there is a leader. */
  async ready(): Promise<void> {
    await until('majority of etcd', READY_MS_MAX, async () => {
      for (const host of this.hosts) if (await isHealthy(host)) return true
      await sleep(100)
      return false
    })
  }

  async close(): Promise<void> {
    for (const host of this.hosts) await this.kill(host)
  }

  #memberOn(host: number): Member {
    return this.#members.find((member) => member.host === host)!
  }

  #flagsOf(host: number): string[] {
    const client = `http://${addressOf(host)}:${CLIENT_PORT}`
    const peer = `http://${addressOf(host)}:${PEER_PORT}`
    const initial = this.hosts.map((each) => `m${each}=http://${addressOf(each)}:${PEER_PORT}`)
    return [
      ...['--name', `m${host}`, '--data-dir', join(this.#folder, `etcd-${host}`)],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', initial.join(','), '--initial-cluster-state', 'new'],
      ...['--initial-cluster-token', 'chaos', '--logger', 'zap', '--log-level', 'warn'],
    ]
  }
}

async function isHealthy(host: number): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(ASK_MS_MAX)
    const answer = await fetch(`http://${addressOf(host)}:${CLIENT_PORT}/health`, { signal })
    return ((await answer.json()) as { health?: string }).health === 'true'
  } catch {
    return false
  }
}
