/**
 * UsageCommand: commander's Command whose faults are UsageErrors in the words of this command line: which command, what was
 * typed, the nearest right name or what there is.
 */
import { Command, type ErrorOptions } from 'commander'
import { nearest } from '../base/nearest.ts'
import { UsageError } from './errors.ts'

export class UsageCommand extends Command {
  override createCommand(name?: string): UsageCommand {
    return new UsageCommand(name)
  }

  override error(message: string, options?: ErrorOptions): never {
    const reword = REWORDED[options?.code ?? '']
    throw new UsageError(reword === undefined ? `${commandLine(this)}: ${message}` : reword(this, message))
  }
}

/** `millrace topic create`. */
function commandLine(command: Command): string {
  const names: string[] = []
  for (let each: Command | null = command; each !== null; each = each.parent) names.unshift(each.name())
  return names.join(' ')
}

type Reword = (command: Command, message: string) => string

/** commander's code of a fault -> what is said instead. Its message has the names in quotes. */
const REWORDED: Readonly<Record<string, Reword>> = {
  'commander.unknownCommand': (command, message) => {
    const name = quotedIn(message)
    const known = command.commands.map((each) => each.name())
    const near = nearest(name, known)
    const hint = near === undefined ? `its commands are ${known.join(', ')}` : `did you mean '${near}'?`
    return `${commandLine(command)} has no command '${name}'; ${hint}`
  },
  'commander.unknownOption': (command, message) => {
    const flag = quotedIn(message)
    const near = nearest(flag, flagsOf(command))
    const hint = near === undefined ? `${commandLine(command)} --help lists its flags` : `did you mean '${near}'?`
    return `${commandLine(command)} has no flag '${flag}'; ${hint}`
  },
  'commander.missingArgument': (command, message) =>
    `${commandLine(command)}: ${quotedIn(message).toUpperCase()} is missing; usage: ${usageOf(command)}`,
  'commander.excessArguments': (command) => {
    const { registeredArguments, args } = command
    const first = args[registeredArguments.length]
    return `${commandLine(command)}: '${first}' is one operand too many; usage: ${usageOf(command)}`
  },
  'commander.missingMandatoryOptionValue': (command, message) =>
    `${commandLine(command)} needs ${quotedIn(message)}: ${descriptionOf(command, quotedIn(message))}`,
  'commander.optionMissingArgument': (command, message) =>
    `${commandLine(command)}: ${quotedIn(message)} needs a value`,
  'commander.invalidArgument': (command, message) => {
    const option = /option '([^']+)' argument '([^']*)' is invalid\. Allowed choices are (.*)\.$/.exec(message)
    const operand = /argument value '([^']*)' is invalid for argument '([^']+)'\. Allowed choices are (.*)\.$/.exec(
      message,
    )
    if (option !== null) return expected(/--[\w-]+/.exec(option[1]!)?.[0] ?? option[1]!, option[3]!, option[2]!)
    if (operand !== null)
      return expected(`${commandLine(command)} ${operand[2]!.toUpperCase()}`, operand[3]!, operand[1]!)
    return `${commandLine(command)}: ${message}`
  },
}

function expected(what: string, choices: string, given: string): string {
  return `${what}: expected one of ${choices}, not '${given}'`
}

function quotedIn(message: string): string {
  return /'([^']+)'/.exec(message)?.[1] ?? ''
}

function flagsOf(command: Command): string[] {
  return command.options.flatMap((option) => [option.long, option.short].filter((flag) => flag != null))
}

function usageOf(command: Command): string {
  const operands = command.registeredArguments.map((each) => {
    const name = `${each.name().toUpperCase()}${each.variadic ? '…' : ''}`
    return each.required ? name : `[${name}]`
  })
  return [commandLine(command), ...operands].join(' ')
}

function descriptionOf(command: Command, flags: string): string {
  return command.options.find((option) => option.flags === flags)?.description ?? ''
}
