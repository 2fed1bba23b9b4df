/**
 * Diagnosis: one thing that `doctor` looked at: what is so, whether a broker can live with it, and what to do.
 *
 * ok    nothing to do      warn  a broker runs, slower or less safe than it could      fail  it does not start, or not for long
 */
import type { BrokerConfig, ThreadPlan } from '../../config/index.ts'

export type DiagnosisStatus = 'ok' | 'warn' | 'fail'

export interface Diagnosis {
  /** One word, for scripts. */
  readonly check: string
  readonly status: DiagnosisStatus
  readonly text: string
  /** What to do; none where nothing is. */
  readonly fix?: string
  /** The numbers behind the text. */
  readonly facts?: Readonly<Record<string, string | number | boolean | null>>
}

/** What the checks are about: a configuration on this machine. */
export interface Patient {
  readonly config: BrokerConfig
  readonly threads: ThreadPlan
  /** Absolute. */
  readonly dataDir: string
  readonly signal: AbortSignal
}
