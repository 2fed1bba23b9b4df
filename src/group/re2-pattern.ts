/**
 * Topic patterns by RE2JS, the port of the engine that Kafka's brokers use: linear time, no back-references.
 * A composition root says how the package is loaded (base/node/require-re2.ts): with the first pattern, not with the broker.
 *
 * Limits   TOPIC_PATTERN_PROGRAM_MAX instructions; the library itself refuses nesting beyond 1,000 and repeats beyond 1,000
 */
import { TOPIC_PATTERN_PROGRAM_MAX } from '../model/limits.ts'
import type { CompilePattern } from './topic-pattern.ts'

type Re2 = Pick<typeof import('re2js'), 'RE2JS' | 'RE2JSException'>

export function re2Patterns(load: () => Re2): CompilePattern {
  return (pattern) => {
    const { RE2JS, RE2JSException } = load()
    try {
      const program = RE2JS.compile(pattern)
      const size = program.programSize()
      if (size > TOPIC_PATTERN_PROGRAM_MAX)
        return { fault: `it takes ${size} instructions, the most is ${TOPIC_PATTERN_PROGRAM_MAX}: use smaller repeats` }
      return { matches: (name) => program.matches(name) }
    } catch (error) {
      if (error instanceof RE2JSException) return { fault: error.message }
      throw error
    }
  }
}
