/** RE2JS, loaded when the first pattern comes: importing its 260 KiB would cost every start. */
import { createRequire } from 'node:module'

export function requireRe2(): typeof import('re2js') {
  return createRequire(import.meta.url)('re2js') as typeof import('re2js')
}
