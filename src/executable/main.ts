/** Entry of the single executable that scripts/build-binary.mjs makes: native parts first, then the command line. */
import { getAsset } from 'node:sea'
import { ExitCode } from '../cli/exit-codes.ts'
import { prepareNatives } from './native-parts.ts'

async function main(): Promise<void> {
  try {
    prepareNatives(getAsset('native.json', 'utf8'))
  } catch (error) {
    process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n`)
    process.exitCode = ExitCode.FAILURE
    return
  }
  await import('../cli/main.ts')
}

void main()
