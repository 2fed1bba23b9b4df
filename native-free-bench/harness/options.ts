/** Options of a benchmark: `--name value` words; `--smoke` makes everything small, for CI. */

export interface BenchOptions {
  readonly smoke: boolean
  readonly json: boolean
  number(name: string, full: number, smoke: number): number
  text(name: string, fallback: string): string
}

export function benchOptions(words: readonly string[] = process.argv.slice(2)): BenchOptions {
  const values = new Map<string, string>()
  for (let index = 0; index < words.length; index++) {
    const name = words[index]!.replace(/^--/, '')
    const next = words[index + 1]
    if (next === undefined || next.startsWith('--')) values.set(name, 'true')
    else {
      values.set(name, next)
      index++
    }
  }
  const smoke = values.get('smoke') === 'true'
  return {
    smoke,
    json: values.get('json') === 'true',
    number(name, full, small) {
      const text = values.get(name)
      const value = text === undefined ? (smoke ? small : full) : Number(text)
      if (!Number.isFinite(value)) throw new Error(`--${name} '${text}' is not a number`)
      return value
    },
    text: (name, fallback) => values.get(name) ?? fallback,
  }
}
