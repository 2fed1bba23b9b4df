/** Configuration in one import. */
export { CLUSTER_NODES, renderClusterNode } from './cluster-files.ts'
export * from './config.ts'
export { configJsonSchema, renderJsonSchema } from './json-schema.ts'
export { PROFILE_KEYS, PROFILE_NAMES, PROFILES, type Profile, type ProfileName } from './profiles.ts'
export { describeConfig, formatValue, renderConfig, renderDefaults, renderProfile } from './render.ts'
export { CONFIG_KEYS, CONFIG_PATHS, type ConfigKey, type ConfigPath } from './schema.ts'
export { planThreads, type ThreadPlan } from './thread-plan.ts'
export { formatDuration, formatSize, parseDuration, parseSize } from './units.ts'
