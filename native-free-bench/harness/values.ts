/** Values: what a bench gathers run by run. */
import type { FigureOptions, Report } from './report.ts'

/** Figures by name, a value a run, told in the order in which their first values came. */
export class Values {
  readonly #figures = new Map<string, { readonly values: number[]; readonly options: FigureOptions }>()

  add(name: string, value: number, options: FigureOptions): void {
    const figure = this.#figures.get(name)
    if (figure === undefined) this.#figures.set(name, { values: [value], options })
    else figure.values.push(value)
  }

  tell(report: Report): void {
    for (const [name, { values, options }] of this.#figures) report.figure(name, values, options)
  }
}
