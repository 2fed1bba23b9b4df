/**
 * Topic patterns: the port of the matcher, and which topics of the directory a pattern matches, kept up to date.
 *
 * Limits   TOPIC_PATTERN_BYTES_MAX, TOPIC_PATTERN_PROGRAM_MAX: a match costs at most program x length of the name
 * Rule     a pattern is matched against the whole name; names that begin with '__' (internal topics) never match
 */
import type { TopicId } from '../model/ids.ts'
import type { TopicDirectory } from './topic-directory.ts'

export interface TopicMatcher {
  /** True when the pattern matches the whole of `name`; linear in its length. */
  matches(name: string): boolean
}

/** Makes a matcher, or answers what is wrong with the pattern. */
export type CompilePattern = (pattern: string) => TopicMatcher | { readonly fault: string }

const INTERNAL_PREFIX = '__'

/** The topics that one pattern matches. A topic is tested once in its life. */
export class PatternMatches {
  readonly #matcher: TopicMatcher
  #tested = new Map<TopicId, boolean>()
  #version = -1
  #matched: readonly TopicId[] = []

  constructor(matcher: TopicMatcher) {
    this.#matcher = matcher
  }

  topicsOf(directory: TopicDirectory): readonly TopicId[] {
    if (this.#version === directory.version) return this.#matched
    const tested = new Map<TopicId, boolean>()
    const matched: TopicId[] = []
    for (const { topicId, name } of directory.topics()) {
      const isMatch = this.#tested.get(topicId) ?? (!name.startsWith(INTERNAL_PREFIX) && this.#matcher.matches(name))
      tested.set(topicId, isMatch)
      if (isMatch) matched.push(topicId)
    }
    this.#tested = tested
    this.#matched = matched
    this.#version = directory.version
    return matched
  }
}
