/**
 * Progress: a bar on stderr for long work, where a person watches: on a terminal, without -q. In a pipe nothing at all.
 *
 * Owns     the bar's line until end(), which clears it: what is said afterwards stands where the bar was
 * Limits   redraws at most ten times a second, from update(): it works without a turn of the event loop (`verify` blocks)
 */
import type { SingleBar } from 'cli-progress'

/** 'producing', 'verifying', 'moving'; and how much there is altogether. */
export type ProgressOptions = { readonly what: string } & (
  | { readonly totalBytes: number }
  /** Things of which `units` is the plural. */
  | { readonly total: number; readonly units: string }
)

/** What a bar needs of stderr. */
export type ProgressStream = NodeJS.WritableStream & { readonly isTTY?: boolean }

const REDRAWS_PER_SECOND = 10
const WIDTH = 30

export class Progress {
  readonly #bar: SingleBar | undefined
  #done = 0

  private constructor(bar: SingleBar | undefined) {
    this.#bar = bar
  }

  /** A bar on `stream` if it is a terminal; else one that shows nothing. */
  static async start(stream: ProgressStream | undefined, options: ProgressOptions): Promise<Progress> {
    const whole = 'totalBytes' in options ? options.totalBytes : options.total
    if (stream?.isTTY !== true || whole === 0) return new Progress(undefined)
    const { SingleBar } = (await import('cli-progress')).default
    const bar = new SingleBar({
      stream,
      format: ({ barsize = WIDTH }, { progress, eta, value, total }) => {
        const filled = Math.round(progress * barsize)
        const track = '█'.repeat(filled) + '░'.repeat(barsize - filled)
        const left = progress < 1 && Number.isFinite(Number(eta)) ? `, ${Math.ceil(Number(eta))} s left` : ''
        return `${options.what} ${track} ${Math.floor(progress * 100)}%  ${amountOf(options, value, total)}${left}`
      },
      barsize: WIDTH,
      fps: REDRAWS_PER_SECOND,
      clearOnComplete: true,
      // Whatever ends the process, the cursor is there.
      hideCursor: null,
    })
    bar.start(whole, 0)
    return new Progress(bar)
  }

  add(amount: number): void {
    this.#done += amount // may pass the total: a repair looks twice, a file grows
    this.#bar?.update(this.#done)
  }

  end(): void {
    this.#bar?.stop()
  }
}

function amountOf(options: ProgressOptions, value: number, total: number): string {
  if ('totalBytes' in options) return `${megabytes(value)} of ${megabytes(total)} MB`
  return `${value} of ${total} ${options.units}`
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}
