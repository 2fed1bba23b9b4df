/**
 * TopicDirectory: the topics as the coordinators of one shard see them: name, id and number of partitions.
 *
 * Owns     nothing durable: the shell fills it from the metadata store, whole before a coordinator finishes loading, and
 *          then tells every coordinator what changed (GroupCoordinator.onTopicsChanged)
 * Rule     a topic that is missing here is never a reason to delete committed offsets: only removal by name is (README)
 */
import type { TopicId } from '../model/ids.ts'

export interface TopicEntry {
  readonly topicId: TopicId
  readonly name: string
  readonly partitionCount: number
}

export class TopicDirectory {
  readonly #byId = new Map<TopicId, TopicEntry>()
  readonly #byName = new Map<string, TopicEntry>()
  #version = 0

  /** Grows with each change. */
  get version(): number {
    return this.#version
  }

  get size(): number {
    return this.#byId.size
  }

  topics(): IterableIterator<TopicEntry> {
    return this.#byId.values()
  }

  byId(topicId: TopicId): TopicEntry | undefined {
    return this.#byId.get(topicId)
  }

  byName(name: string): TopicEntry | undefined {
    return this.#byName.get(name)
  }

  /** A topic was made, or its partitions became more. */
  put(entry: TopicEntry): void {
    this.#byId.set(entry.topicId, entry)
    this.#byName.set(entry.name, entry)
    this.#version++
  }

  remove(topicId: TopicId): void {
    const entry = this.#byId.get(topicId)
    if (entry === undefined) return
    this.#byId.delete(topicId)
    // Another topic may have taken the name already.
    if (this.#byName.get(entry.name) === entry) this.#byName.delete(entry.name)
    this.#version++
  }
}
