/** The flags of `npm run cluster`. Pure. */
import { parseArgs } from 'node:util'

export const BROKERS_MAX = 9
const PORT_MIN = 1024
const PORT_MAX = 65_535 - BROKERS_MAX

export interface ClusterFlags {
  readonly brokers: number
  readonly dataDir: string
  readonly portsFrom: number
  readonly isClean: boolean
}

export type ParsedFlags =
  | { readonly kind: 'run'; readonly flags: ClusterFlags }
  | { readonly kind: 'help' }
  | { readonly kind: 'fault'; readonly text: string }

export const USAGE = `npm run cluster -- [--brokers N] [--clean] [--ports-from N] [--data-dir DIR]

  --brokers N      how many, 1 to ${BROKERS_MAX} (default 3)
  --clean          begin empty: removes what an earlier cluster left in the data folder
  --ports-from N   the first broker's port, the others follow (default 7171)
  --data-dir DIR   of etcd and all brokers (default ./data/cluster)

etcd comes from MILLRACE_ETCD, else from the PATH; as root on Debian it is installed when there is none.`

export function parseFlags(words: readonly string[]): ParsedFlags {
  try {
    const { values } = parseArgs({
      args: [...words],
      options: {
        brokers: { type: 'string', default: '3' },
        clean: { type: 'boolean', default: false },
        'ports-from': { type: 'string', default: '7171' },
        'data-dir': { type: 'string', default: './data/cluster' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    if (values.help) return { kind: 'help' }
    const brokers = integerOf('--brokers', values.brokers, 1, BROKERS_MAX)
    const portsFrom = integerOf('--ports-from', values['ports-from'], PORT_MIN, PORT_MAX)
    return { kind: 'run', flags: { brokers, portsFrom, dataDir: values['data-dir'], isClean: values.clean } }
  } catch (error) {
    return { kind: 'fault', text: error instanceof Error ? error.message : String(error) }
  }
}

function integerOf(flag: string, text: string, min: number, max: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new Error(`${flag}: expected an integer from ${min} to ${max}, not '${text}'`)
}
