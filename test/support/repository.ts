/** The checkout that the tests run in: where it is, and its source files. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

/** dist/test/support/ -> the checkout. */
export const repositoryRoot = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')

export interface SourceFile {
  /** Path from the root, with forward slashes. */
  readonly path: string
  readonly text: string
}

/** TypeScript files below `folder` (from the root), sorted; none when there is no such folder. */
export function sourceFiles(folder: string): SourceFile[] {
  if (!existsSync(join(repositoryRoot, folder))) return []
  return readdirSync(join(repositoryRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(repositoryRoot, folder, name))
    .map((path) => ({ path: relative(repositoryRoot, path).split(sep).join('/'), text: readFileSync(path, 'utf8') }))
    .sort((left, right) => (left.path < right.path ? -1 : 1))
}
