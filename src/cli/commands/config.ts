/** `millrace config show | validate | profiles`. */
import { describeConfig, PROFILE_NAMES, PROFILES, resolveConfig } from '../../config/index.ts'
import { type ConfigFlags, configInputOf, readConfigFile } from '../config-input.ts'
import { table } from '../table.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'

export async function showConfig(terminal: Terminal, flags: ConfigFlags & { effective?: boolean }): Promise<void> {
  const entries = describeConfig(resolveConfig(configInputOf(flags, process.env)))
  if (terminal.isJson) for (const entry of entries) terminal.writeJson(entry)
  else if (flags.effective === true)
    for (const line of table(
      ['KEY', 'VALUE', 'FROM'],
      entries.map((entry) => [entry.path, entry.value, entry.source]),
    ))
      terminal.writeLine(line)
  else for (const entry of entries) terminal.writeLine(`${entry.path}: ${entry.value}`)
}

export async function validateConfig(terminal: Terminal, _flags: GlobalOptions, name: string): Promise<void> {
  resolveConfig({ file: readConfigFile(name) })
  if (terminal.isJson) terminal.writeJson({ file: name, valid: true })
  else terminal.say(`${name} is valid`)
}

export async function showProfiles(terminal: Terminal): Promise<void> {
  for (const name of PROFILE_NAMES) {
    const sets = Object.entries(PROFILES[name])
    if (terminal.isJson) terminal.writeJson({ profile: name, sets: Object.fromEntries(sets) })
    else
      terminal.writeLine(
        `${name}: ${sets.length === 0 ? 'the defaults' : sets.map(([key, value]) => `${key}=${value}`).join(' ')}`,
      )
  }
}
