/** `millrace user`: makes, lists and deletes the users of the Kafka door. */
import type { Client, ScramMechanism, UserDescription } from '../../client/index.ts'
import { isMillraceError, MillraceError } from '../../model/errors.ts'
import { SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN } from '../../model/limits.ts'
import { userNameFault } from '../../model/users.ts'
import { integerOf } from '../arguments.ts'
import { withClient } from '../connect.ts'
import { UsageError } from '../errors.ts'
import { readPassword } from '../password.ts'
import { table } from '../table.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'

/** Where a command prints. */
type Output = Pick<Terminal, 'isJson' | 'signal' | 'writeLine' | 'writeJson' | 'say'>

export interface SetUserFlags extends GlobalOptions {
  readonly mechanism?: ScramMechanism[]
  readonly iterations?: string
}

export async function setUser(terminal: Terminal, flags: SetUserFlags, name: string): Promise<void> {
  const fault = userNameFault(name)
  if (fault !== undefined) throw new UsageError(`user set: ${fault}`)
  if (flags.iterations !== undefined) iterationsOf(flags.iterations)
  const password = await readPassword(terminal, name)
  await withClient(terminal, (client) => setUserWith(terminal, client, flags, { name, password }))
}

export async function setUserWith(
  output: Output,
  client: Client,
  flags: SetUserFlags,
  { name, password }: { readonly name: string; readonly password: string },
): Promise<void> {
  const options = {
    ...(flags.mechanism === undefined ? {} : { mechanisms: [...new Set(flags.mechanism)] }),
    ...(flags.iterations === undefined ? {} : { iterations: iterationsOf(flags.iterations) }),
  }
  const { signal } = output
  await client.admin.users.upsert({ name, password, ...options }, { signal })
  const credentials = (await client.admin.users.list({ signal })).find((user) => user.name === name)?.credentials ?? []
  if (output.isJson) output.writeJson({ name, credentials })
  else output.say(`${name} has a password, for ${credentials.map(({ mechanism }) => mechanism).join(' and ')}`)
  if (/[,=]/.test(password))
    output.say('kafkajs writes , and = of a password otherwise than they are with SCRAM: its clients will not get in')
}

function iterationsOf(text: string): number {
  return integerOf('--iterations', text, SCRAM_ITERATIONS_MIN, SCRAM_ITERATIONS_MAX)
}

export async function listUsers(terminal: Terminal): Promise<void> {
  await withClient(terminal, (client) => listUsersWith(terminal, client))
}

export async function listUsersWith(output: Output, client: Client): Promise<void> {
  const users = await client.admin.users.list({ signal: output.signal })
  if (output.isJson) for (const user of users) output.writeJson(user)
  else if (users.length === 0) output.say('there are no users; millrace user set NAME makes one')
  else for (const line of table(['USER', 'MECHANISMS'], users.map(rowOf))) output.writeLine(line)
}

function rowOf({ name, credentials }: UserDescription): string[] {
  const texts = credentials.map(({ mechanism, iterations }) => `${mechanism} (${iterations} iterations)`)
  return [name, texts.join(', ') || '-']
}

export async function deleteUser(terminal: Terminal, _flags: GlobalOptions, name: string): Promise<void> {
  await withClient(terminal, (client) => deleteUserWith(terminal, client, name))
}

export async function deleteUserWith(output: Output, client: Client, name: string): Promise<void> {
  await client.admin.users.delete(name, { signal: output.signal }).catch((error: unknown) => {
    if (!isMillraceError(error) || error.code !== 'RESOURCE_NOT_FOUND') throw error
    const text = `there is no user '${name}'; millrace user list shows those there are`
    throw new MillraceError(error.code, text, { cause: error })
  })
  if (output.isJson) output.writeJson({ name, deleted: true })
  else output.say(`deleted ${name}; connections that it has stay until they end`)
}
