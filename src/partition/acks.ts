/** Which replicas must have a batch before its producer is answered: Kafka's numbers, as they stand in the request. */
export const ACKS_NONE = 0
export const ACKS_LEADER = 1
export const ACKS_ALL = -1
export type Acks = typeof ACKS_NONE | typeof ACKS_LEADER | typeof ACKS_ALL
