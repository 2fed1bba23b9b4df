/**
 * Network: hosts as network namespaces on one bridge, with packets dropped between any two of them, in one direction or both.
 *
 *   hub: br0 ── 10.77.0.N (a host, in a namespace of its own) …
 *         └──── 10.77.0.100 (this process)
 *
 * Owns      the namespaces, their devices and filters. All lies in the namespaces (network, mount) of this process, which must be its
 *           own (see laboratory.ts): they go with it, however it ends
 * Ordering  a cut holds from its call on for packets that come in afterwards, those of open connections too
 * Failure   throws with what ip or nft said
 */
import { execFileSync } from 'node:child_process'

const COMMAND_MS_MAX = 10_000
const SUBNET = '10.77.0'
const OWN_NUMBER = 100
const HUB = 'hub'

/** Packets from a host of `cut` are not received. */
const FILTER = `table inet chaos {
  set cut { type ipv4_addr; }
  chain enter {
    type filter hook input priority 0; policy accept;
    ip saddr @cut counter drop
  }
}
`

/** A host's last number, 1 to 99; or 'client', this process. */
export type Host = number | 'client'

export class Network {
  readonly #hosts = new Set<Host>()

  constructor() {
    ip('link', 'set', 'lo', 'up')
    ip('netns', 'add', HUB)
    inHub('link', 'add', 'br0', 'type', 'bridge')
    inHub('link', 'set', 'br0', 'up')
    inHub('link', 'add', 'client', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(process.pid))
    inHub('link', 'set', 'client', 'master', 'br0', 'up')
    ip('addr', 'add', `${addressOf('client')}/24`, 'dev', 'eth0')
    ip('link', 'set', 'eth0', 'up')
    command('nft', ['-f', '-'], FILTER)
    this.#hosts.add('client')
  }

  add(host: number): void {
    const name = nameOf(host)
    ip('netns', 'add', name)
    inHub('link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
    inHub('link', 'set', name, 'master', 'br0', 'up')
    ip('-n', name, 'link', 'set', 'lo', 'up')
    ip('-n', name, 'addr', 'add', `${addressOf(host)}/24`, 'dev', 'eth0')
    ip('-n', name, 'link', 'set', 'eth0', 'up')
    on(host, ['nft', '-f', '-'], FILTER)
    this.#hosts.add(host)
  }

  /** Words that run a program on a host, and become it. */
  launcherOf(host: number): string[] {
    return ['ip', 'netns', 'exec', nameOf(host)]
  }

  /** Nothing of `from` reaches `to`. */
  cutOneWay(from: readonly Host[], to: readonly Host[]): void {
    const sources = from.map(addressOf).join(', ')
    for (const host of to) on(host, ['nft', 'add', 'element', 'inet', 'chaos', 'cut', `{ ${sources} }`])
  }

  /** Nothing goes between the two groups. */
  cut(one: readonly Host[], other: readonly Host[]): void {
    this.cutOneWay(one, other)
    this.cutOneWay(other, one)
  }

  heal(): void {
    for (const host of this.#hosts) on(host, ['nft', 'flush', 'set', 'inet', 'chaos', 'cut'])
  }
}

export function addressOf(host: Host): string {
  return `${SUBNET}.${host === 'client' ? OWN_NUMBER : host}`
}

function nameOf(host: number): string {
  return `host${host}`
}

function on(host: Host, words: readonly string[], input?: string): void {
  const [program = '', ...rest] = host === 'client' ? words : ['ip', 'netns', 'exec', nameOf(host), ...words]
  command(program, rest, input)
}

function ip(...words: string[]): void {
  command('ip', words)
}

function inHub(...words: string[]): void {
  ip('-n', HUB, ...words)
}

function command(program: string, words: readonly string[], input = ''): void {
  execFileSync(program, words, { input, stdio: ['pipe', 'ignore', 'pipe'], timeout: COMMAND_MS_MAX })
}
