/** The ports a broker wants: free, held by a broker, or by something else. */
import { get } from 'node:http'
import { formatHostPort } from '../../base/host-port.ts'
import { explainListenFault, portHolder, tryListen } from '../listen-fault.ts'
import type { Diagnosis, Patient } from './diagnosis.ts'

const LIVEZ_TIMEOUT_MS = 10_000
const LIVEZ_LENGTH_MAX = 4096

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

/** Where Kafka clients come in. Whether a broker or another program holds it cannot be told: it says nothing first. */
export async function checkKafkaPort({ config }: Patient): Promise<Diagnosis> {
  const { listen } = config.kafka
  if (listen === undefined) return { check: 'kafka-port', status: 'ok', text: 'the Kafka listener is off', facts: {} }
  const { host, port } = listen
  const facts = { host, port }
  const code = await tryListen(host, port)
  if (code === undefined) return { check: 'kafka-port', status: 'ok', text: `${formatHostPort(listen)} is free`, facts }
  const [text = '', fix = ''] = explainListenFault(host, port, code, '--kafka').split('; ')
  if (code === 'EADDRINUSE')
    return {
      check: 'kafka-port',
      status: 'ok',
      text: `${text.replace(/^cannot listen on /, '')}; fine where that is the broker`,
      facts,
    }
  return { check: 'kafka-port', status: 'fail', text, fix, facts }
}

/** Not by fetch(): it tries a server that hangs up again and again, and Node 20 may collect the signal that would end it. */
function isBroker(host: string, port: number, signal: AbortSignal): Promise<boolean> {
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return new Promise((resolve) => {
    const request = get({ host: name, port, path: '/livez', agent: false, timeout: LIVEZ_TIMEOUT_MS, signal })
    let text = ''
    request.on('response', (response) => {
      response.setEncoding('utf8')
      response.on('data', (piece: string) => {
        text += piece
        if (text.length > LIVEZ_LENGTH_MAX) request.destroy()
      })
      response.on('end', () => resolve(saysAlive(text)))
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(false))
    request.on('close', () => resolve(false))
  })
}

function saysAlive(text: string): boolean {
  try {
    return (JSON.parse(text) as { status?: unknown } | null)?.status === 'alive'
  } catch {
    return false
  }
}
