/** Consumer groups in one import. re2Patterns stands apart (re2-pattern.ts): only who needs it loads the engine. */

export type { EncodedRecord } from '../record/record-table.ts'
export type {
  Assignment,
  Assignor,
  AssignorInput,
  AssignorMember,
} from './assignors/assignor.ts'
export { DEFAULT_GROUP_CONFIG, type GroupConfig } from './group-config.ts'
export {
  BUILT_IN_ASSIGNORS,
  GroupCoordinator,
  type GroupCoordinatorOptions,
  type ReplayOutcome,
  type TopicChanges,
} from './group-coordinator.ts'
export { decodeRecord, encodeRecord, type GroupRecord } from './group-records.ts'
export type { GroupKind, GroupStateName } from './group-state.ts'
export * from './requests.ts'
export { TopicDirectory, type TopicEntry } from './topic-directory.ts'
export type { CompilePattern, TopicMatcher } from './topic-pattern.ts'
