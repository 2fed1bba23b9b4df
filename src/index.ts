/** Package root: a broker in this process. The client is `millrace/client`. */

export { type BrokerConfig, ConfigError, type ConfigInput, resolveConfig } from './config/index.ts'
export type { RunningBroker, StartBrokerOptions } from './main.ts'
export { describeStart, startBroker } from './main.ts'
export { type ErrorCode, isMillraceError, MillraceError } from './model/errors.ts'
