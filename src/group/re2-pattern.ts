/**
 * Topic patterns by RE2JS, the port of the engine that Kafka's brokers use: linear time, no back-references.
 * A composition root hands it in (GroupCoordinatorOptions.compilePattern): only who serves patterns loads its 260 KiB.
 *
 * Limits   TOPIC_PATTERN_PROGRAM_MAX instructions; the library itself refuses nesting beyond 1,000 and repeats beyond 1,000
 */
import { RE2JS, RE2JSException } from 're2js'
import { TOPIC_PATTERN_PROGRAM_MAX } from '../model/limits.ts'
import type { CompilePattern } from './topic-pattern.ts'

export const compileRe2Pattern: CompilePattern = (pattern) => {
  let program: RE2JS
  try {
    program = RE2JS.compile(pattern)
  } catch (error) {
    if (error instanceof RE2JSException) return { fault: error.message }
    throw error
  }
  const size = program.programSize()
  if (size > TOPIC_PATTERN_PROGRAM_MAX)
    return { fault: `it takes ${size} instructions, the most is ${TOPIC_PATTERN_PROGRAM_MAX}: use smaller repeats` }
  return { matches: (name) => program.matches(name) }
}
