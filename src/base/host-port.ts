/** HOST:PORT, as addresses to listen at are written; an IPv6 address in brackets. */

export interface HostPort {
  /** Without the brackets of an IPv6 address. */
  readonly host: string
  readonly port: number
}

/** Of a text that has the shape already. */
export function hostPortOf(text: string): HostPort {
  const colon = text.lastIndexOf(':')
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) }
}

export function formatHostPort({ host, port }: HostPort): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** Every address of the machine: to listen at, and none to connect to. */
export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}
