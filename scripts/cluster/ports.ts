/** Whether the ports are free, and who has one that is not. */
import { portHolder, tryListen } from '../../src/cli/listen-fault.ts'
import { type EtcdPorts, HOST } from './plan.ts'

const ETCD_PORT = 2379
/** Pairs that are tried for etcd, each so far from the last one. */
const ETCD_STEP = 10
const ETCD_TRIES_MAX = 50

/** Undefined, or why a broker cannot listen there. */
export async function portFault(port: number): Promise<string | undefined> {
  const code = await tryListen(HOST, port)
  if (code === undefined) return undefined
  return code === 'EADDRINUSE' ? `port ${port} is in use${holderOf(port)}` : `port ${port}: ${code}`
}

/** 2379 and 2380, or the first pair after them that is free; `note` says why not those. */
export async function chooseEtcdPorts(): Promise<{ readonly ports: EtcdPorts; readonly note: string | undefined }> {
  let taken: string | undefined
  for (let tries = 0; tries < ETCD_TRIES_MAX; tries++) {
    const ports = { client: ETCD_PORT + tries * ETCD_STEP, peer: ETCD_PORT + 1 + tries * ETCD_STEP }
    const fault = (await portFault(ports.client)) ?? (await portFault(ports.peer))
    if (fault === undefined) {
      const note = taken && `${taken}: this cluster's etcd listens at ${ports.client} and ${ports.peer} instead`
      return { ports, note }
    }
    taken ??= fault
  }
  throw new Error(`no ports for etcd: ${taken}, and so are ${ETCD_TRIES_MAX - 1} pairs after it`)
}

function holderOf(port: number): string {
  const holder = portHolder(port)
  return holder === undefined ? '' : ` by process ${holder.pid}${holder.command ? ` (${holder.command})` : ''}`
}
