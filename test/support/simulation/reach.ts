/** Reach: what a run got to, counted; a simulation that never tears a tail proves nothing about torn tails. */

export const REACH_NAMES = [
  ...([
    'kill',
    'power cut',
    'death within an operation',
    'death within recovery',
    'clean restart',
    'clock jump',
  ] as const),
  ...(['shard count changed', 'shard failed', 'fsync failure', 'disk full', 'short write', 'slow disk'] as const),
  ...(['connections cut', 'message cut', 'slow network', 'torn tail cut', 'suffix set aside'] as const),
  ...([
    'journal entries replayed',
    'log recovered',
    'start failed',
    'batch retried',
    'dedup hit',
    'send in doubt',
  ] as const),
  ...(['segment roll', 'trim', 'topic created', 'topic deleted', 'long poll', 'consumer restarted'] as const),
  ...([
    'offset out of range',
    'shadow recovery',
    'records acknowledged',
    'records polled',
    'request ring full',
    'pages all in use',
  ] as const),
] as const
export type ReachName = (typeof REACH_NAMES)[number]

export class Reach<Name extends string = ReachName> {
  readonly counts = new Map<Name, number>()

  add(name: Name, count = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + count)
  }
}
