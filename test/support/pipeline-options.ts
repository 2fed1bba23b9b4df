/** What a process of a pipeline (pipeline-member.ts) is told, and what it writes that nobody may see. */

export interface PipelineMemberOptions {
  readonly url: string
  /** 'kafkajs': a member of another make, chaos/kafkajs-pipeline-member.ts. */
  readonly mode: 'manual' | 'run' | 'kafkajs'
  /** Of the group and of the transactional ids. */
  readonly groupId: string
  readonly name: string
  readonly input: string
  readonly output: string
  readonly sessionTimeoutMs: number
  readonly transactionTimeoutMs: number
  /** File of the history, and the first number of its processes. */
  readonly journal: string
  readonly process: number
  readonly seed: number
}

/** Value of what no reader of committed records may see. */
export const POISON = 'poison'

/** Begins a line on stderr of a member that met what it may never meet. */
export const FAULT_MARK = 'fault: '

/** Begins a line on stderr of a member that had to begin something anew, as it may. */
export const ANEW_MARK = 'anew: '
