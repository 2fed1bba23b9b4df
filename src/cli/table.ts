/** Rows as aligned columns: numbers to the right. */

export function table(heads: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  const texts = [heads, ...rows.map((row) => row.map(String))]
  const widths = heads.map((_, column) => Math.max(...texts.map((row) => row[column]!.length)))
  const isNumber = heads.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number'))
  return texts.map((row) =>
    row
      .map((text, column) => (isNumber[column] ? text.padStart(widths[column]!) : text.padEnd(widths[column]!)))
      .join('  ')
      .trimEnd(),
  )
}
