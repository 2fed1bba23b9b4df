/**
 * Why an address cannot be listened on, and who holds its port: for `start` and `doctor`. The native WebSocket engine does not
 * say why, so the address is tried once more with node:net.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:net'

export interface PortHolder {
  readonly pid: number
  /** Its command line, cut short; '' where it may not be read. */
  readonly command: string
}

/** The error code of listening there for a moment; undefined = it works. */
export function tryListen(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}

/** What is wrong with an address, and what to do. */
export function explainListenFault(host: string, port: number, code: string, flag = '--listen'): string {
  const where = `cannot listen on ${host.includes(':') ? `[${host}]` : host}:${port}`
  switch (code) {
    case 'EADDRINUSE': {
      const holder = portHolder(port)
      const who = holder === undefined ? '' : ` by process ${holder.pid}${holder.command ? ` (${holder.command})` : ''}`
      return `${where}: the port is in use${who}; stop that, or choose another with ${flag}`
    }
    case 'EADDRNOTAVAIL':
      return `${where}: this machine has no such address; 127.0.0.1 is for this machine alone, 0.0.0.0 for everybody`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${where}: the name '${host}' leads to no address`
    case 'EACCES':
      return `${where}: this user may not; ports from 1024 on are free to take`
    default:
      return `${where}: ${code}`
  }
}

const COMMAND_CHARS_MAX = 80
const STATE_LISTEN = '0A'

/** The process that listens on a port of this machine; undefined where it cannot be known (no /proc, another user's). */
export function portHolder(port: number): PortHolder | undefined {
  const inodes = new Set(['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) => listeningInodes(table, port)))
  if (inodes.size === 0) return undefined
  for (const name of namesIn('/proc')) {
    if (!/^\d+$/.test(name)) continue
    for (const fd of namesIn(`/proc/${name}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${name}/fd/${fd}`))?.[1]
      if (inode !== undefined && inodes.has(inode)) return { pid: Number(name), command: commandOf(name) }
    }
  }
  return undefined
}

/** Columns of /proc/net/tcp (proc(5)): 1 = local address:port in hex, 3 = state, 9 = inode. */
function listeningInodes(table: string, port: number): string[] {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0')
  return textOf(table)
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[3] === STATE_LISTEN && columns[1]?.endsWith(`:${hexPort}`))
    .map((columns) => columns[9] ?? '')
}

function commandOf(pid: string): string {
  const command = textOf(`/proc/${pid}/cmdline`).split('\0').join(' ').trim()
  return command.length > COMMAND_CHARS_MAX ? `${command.slice(0, COMMAND_CHARS_MAX)}…` : command
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
