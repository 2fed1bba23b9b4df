/** Numbers in sentences. */

/** `1 partition`, `2 partitions`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
