/** Numbers in sentences. */

/** `1 partition`, `2 partitions`; `plural` where it is not the noun and an s. */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : plural}`
}
