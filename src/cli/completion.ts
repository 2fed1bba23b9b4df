/**
 * Shell completion, made from the tree of commands: verbs, flags, and the values of flags that have a choice. One script for
 * bash; zsh runs the same through bashcompinit. Names of topics are not completed: that would ask a broker at every tab.
 */
import type { Command } from 'commander'

export const SHELLS = ['bash', 'zsh'] as const
export type Shell = (typeof SHELLS)[number]

/** Which verb the words before the current one lead to. */
const HEAD = [
  '_millrace() {',
  `  local current="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" path=millrace words= word`,
  `  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do`,
  '    case "$path $word" in',
]

export function completionScript(program: Command, shell: Shell): string {
  const words: string[] = []
  const values: string[] = []
  const paths: string[] = []
  const visit = (command: Command, path: string): void => {
    const verbs = command.commands.map((each) => each.name())
    const flags = command.options.flatMap((option) => option.long ?? [])
    words.push(`    ${quoted(path)}) words=${quoted([...verbs, ...flags, '--help'].join(' '))} ;;`)
    // A value without a choice: nothing of ours, so that the shell offers files.
    for (const { long, argChoices, required } of command.options)
      if (long != null && required)
        values.push(`    ${quoted(`${path} ${long}`)}) words=${quoted(argChoices?.join(' ') ?? '')} ;;`)
    for (const each of command.commands) {
      paths.push(`${path} ${each.name()}`)
      visit(each, `${path} ${each.name()}`)
    }
  }
  visit(program, program.name())
  const lines = [
    `# ${program.name()} completion ${shell}: made from its commands; put it where your shell looks for completions, or eval it.`,
    ...(shell === 'zsh' ? ['autoload -U +X bashcompinit && bashcompinit'] : []),
    ...HEAD,
    `    ${paths.map(quoted).join('|')}) path="$path $word" ;;`,
    '    esac',
    '  done',
    '  case "$path" in',
    ...words,
    '  esac',
    '  case "$path $before" in',
    ...values,
    '  esac',
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    '}',
    'complete -o default -F _millrace millrace',
  ]
  return `${lines.join('\n')}\n`
}

function quoted(text: string): string {
  return `'${text}'`
}
