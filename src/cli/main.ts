#!/usr/bin/env node
/**
 * `millrace`: the command line. Here: the tree of commands, the global options, and what an error becomes: text on stderr
 * and an exit code. Each command is a file of commands/, loaded when it is run.
 */
import { CommanderError } from 'commander'
import { UsageError } from './errors.ts'
import { ExitCode, exitCodeOf } from './exit-codes.ts'
import { buildProgram } from './program.ts'
import { Terminal } from './terminal.ts'

const terminal = new Terminal(process)
const program = buildProgram(terminal)
void run()

async function run(): Promise<void> {
  try {
    await program.parseAsync(process.argv)
    await terminal.finish()
  } catch (error) {
    process.exitCode = await report(error)
  } finally {
    terminal.release()
  }
}

/** Says what went wrong; answers the exit code. */
async function report(error: unknown): Promise<number> {
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE // commander has said it
  if (terminal.isPipeBroken) return ExitCode.OK // the reader has had enough: `millrace consume t | head`
  await terminal.finish().catch(() => {})
  if (terminal.interruptedBy !== undefined && !(error instanceof UsageError)) return ExitCode.INTERRUPTED
  terminal.fail(error)
  return exitCodeOf(error)
}
