/** A logger that says nothing, and loads nothing. */
import type { Logger } from '../telemetry/logger.ts'

const nothing = (): void => {}

export const SILENT: Logger = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing }
