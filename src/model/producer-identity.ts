/** ProducerIdentity: who writes: a producer id and the epoch that fences those before it; in transactions whose transaction it is, too. */
export interface ProducerIdentity {
  readonly producerId: number
  readonly producerEpoch: number
}
