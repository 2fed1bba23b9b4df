/** What the flags of `start` and `config show` say to the configuration, and the file they name. */
import { readFileSync } from 'node:fs'
import type { ConfigInput } from '../config/index.ts'
import { MillraceError } from '../model/errors.ts'
import { pairsOf } from './arguments.ts'
import { UsageError } from './errors.ts'
import { checkedFile, fileError } from './files.ts'
import type { GlobalOptions } from './terminal.ts'

export interface ConfigFlags extends GlobalOptions {
  readonly config?: string
  readonly profile?: string
  readonly dataDir?: string
  readonly listen?: string
  readonly kafka?: string
  readonly shards?: string
  readonly insecure?: boolean
  readonly nodeId?: string
  readonly etcd?: string
  readonly set?: string[]
}

/** Flag -> key of the configuration. */
const FLAG_KEYS = [
  ['dataDir', 'dataDir', '--data-dir'],
  ['listen', 'listen', '--listen'],
  ['kafka', 'kafka', '--kafka'],
  ['shards', 'shards', '--shards'],
  ['insecure', 'insecure', '--insecure'],
  ['nodeId', 'nodeId', '--node-id'],
] as const

export function configInputOf(flags: ConfigFlags, env: NodeJS.ProcessEnv): ConfigInput {
  const given: { path: string; value: unknown; source: string }[] = []
  for (const [flag, path, source] of FLAG_KEYS)
    if (flags[flag] !== undefined) given.push({ path, value: flags[flag], source })
  if (flags.etcd !== undefined) given.push({ path: 'etcd', value: flags.etcd.split(','), source: '--etcd' })
  for (const [path, value] of Object.entries(pairsOf('--set', flags.set)))
    given.push({ path, value, source: `--set ${path}` })
  return {
    env,
    flags: given,
    ...(flags.profile === undefined ? {} : { profile: flags.profile }),
    ...(flags.config === undefined ? {} : { file: readConfigFile(flags.config) }),
  }
}

export function readConfigFile(name: string): { name: string; text: string } {
  try {
    checkedFile('configuration file', name)
    return { name, text: readFileSync(name, 'utf8') }
  } catch (error) {
    if (error instanceof UsageError || error instanceof MillraceError) throw error
    throw fileError('configuration file', name, error)
  }
}
