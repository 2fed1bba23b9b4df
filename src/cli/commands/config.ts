/** `millrace config show | validate | profiles`. */
import {
  CONFIG_KEYS,
  type ConfigPath,
  describeConfig,
  formatValue,
  PROFILE_NAMES,
  PROFILES,
  renderConfig,
  resolveConfig,
} from '../../config/index.ts'
import { type ConfigFlags, configInputOf, readConfigFile } from '../config-input.ts'
import { table } from '../table.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'

export async function showConfig(terminal: Terminal, flags: ConfigFlags & { effective?: boolean }): Promise<void> {
  const config = resolveConfig(configInputOf(flags, process.env))
  const entries = describeConfig(config)
  if (terminal.isJson) for (const entry of entries) terminal.writeJson(entry)
  else if (flags.effective === true)
    for (const line of table(
      ['KEY', 'VALUE', 'FROM'],
      entries.map((entry) => [entry.path, entry.value, entry.source]),
    ))
      terminal.writeLine(line)
  else terminal.write(renderConfig(config))
}

export async function validateConfig(terminal: Terminal, _flags: GlobalOptions, name: string): Promise<void> {
  resolveConfig({ file: readConfigFile(name) })
  if (terminal.isJson) terminal.writeJson({ file: name, valid: true })
  else terminal.say(`${name} is valid`)
}

export async function showProfiles(terminal: Terminal): Promise<void> {
  for (const name of PROFILE_NAMES) {
    const { purpose, sets } = PROFILES[name]
    if (terminal.isJson) {
      terminal.writeJson({ profile: name, purpose, sets })
      continue
    }
    terminal.writeLine(`${name}: ${purpose}`)
    const rows = Object.entries(sets).map(([path, { value, why }]) => {
      const byDefault = formatValue(path as ConfigPath, CONFIG_KEYS[path as ConfigPath].default)
      return [`  ${path}`, String(value), byDefault, why]
    })
    const heads = ['  KEY', 'VALUE', 'DEFAULT', 'WHY']
    if (rows.length > 0) for (const line of table(heads, rows)) terminal.writeLine(line)
    terminal.writeLine('')
  }
  terminal.say('none of them changes what is acknowledged or kept; start --profile NAME takes one')
}
