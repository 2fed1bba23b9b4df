/** The ports a broker wants: free, held by a broker, or by something else. */
import { explainListenFault, portHolder, tryListen } from '../listen-fault.ts'
import type { Diagnosis, Patient } from './diagnosis.ts'

const KAFKA_PORT = 9092
const LIVEZ_TIMEOUT_MS = 10_000

export async function checkListenPort({ config, signal }: Patient): Promise<Diagnosis> {
  const { host, port } = config.listen
  const facts = { host, port }
  const code = await tryListen(host, port)
  if (code === undefined) return { check: 'port', status: 'ok', text: `${host}:${port} is free`, facts }
  if (code === 'EADDRINUSE' && (await isBroker(host, port, signal))) {
    const holder = portHolder(port)
    const who = holder === undefined ? '' : `, process ${holder.pid}`
    return { check: 'port', status: 'ok', text: `a Millrace broker serves ${host}:${port}${who}`, facts }
  }
  const [text = '', fix = ''] = explainListenFault(host, port, code).split('; ')
  return { check: 'port', status: 'fail', text, fix, facts }
}

/** Where a Kafka listener will be: only told, this version has none. */
export async function checkKafkaPort(): Promise<Diagnosis> {
  const isFree = (await tryListen('127.0.0.1', KAFKA_PORT)) === undefined
  const text = isFree ? 'is free' : 'is in use, by a Kafka or another program'
  return {
    ...{ check: 'kafka-port', status: 'ok', text: `127.0.0.1:${KAFKA_PORT} ${text}; this version does not need it` },
    facts: { port: KAFKA_PORT, free: isFree },
  }
}

async function isBroker(host: string, port: number, signal: AbortSignal): Promise<boolean> {
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(LIVEZ_TIMEOUT_MS)])
    const answer = await fetch(`http://${name}:${port}/livez`, { signal: limit })
    return ((await answer.json()) as { status?: unknown }).status === 'alive'
  } catch {
    return false
  }
}
