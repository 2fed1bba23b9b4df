/**
 * Progress: a bar on stderr for long work, where a person watches: on a terminal, without -q. In a pipe nothing at all.
 *
 * Owns     the bar's line until end(), which clears it: what is said afterwards stands where the bar was
 * Limits   redraws at most ten times a second, from update(): it works without a turn of the event loop (`verify` blocks)
 */
import type { SingleBar } from 'cli-progress'

export interface ProgressOptions {
  /** 'producing', 'verifying'. */
  readonly what: string
  /** Bytes altogether. */
  readonly totalBytes: number
}

/** What a bar needs of stderr. */
export type ProgressStream = NodeJS.WritableStream & { readonly isTTY?: boolean }

const REDRAWS_PER_SECOND = 10
const WIDTH = 30

export class Progress {
  readonly #bar: SingleBar | undefined
  #bytes = 0

  private constructor(bar: SingleBar | undefined) {
    this.#bar = bar
  }

  /** A bar on `stream` if it is a terminal; else one that shows nothing. */
  static async start(stream: ProgressStream | undefined, options: ProgressOptions): Promise<Progress> {
    if (stream?.isTTY !== true || options.totalBytes === 0) return new Progress(undefined)
    const { SingleBar } = (await import('cli-progress')).default
    const bar = new SingleBar({
      stream,
      format: ({ barsize = WIDTH }, { progress, eta, value, total }) => {
        const filled = Math.round(progress * barsize)
        const track = '█'.repeat(filled) + '░'.repeat(barsize - filled)
        const left = progress < 1 && Number.isFinite(Number(eta)) ? `, ${Math.ceil(Number(eta))} s left` : ''
        return `${options.what} ${track} ${Math.floor(progress * 100)}%  ${megabytes(value)} of ${megabytes(total)} MB${left}`
      },
      barsize: WIDTH,
      fps: REDRAWS_PER_SECOND,
      clearOnComplete: true,
      // Whatever ends the process, the cursor is there.
      hideCursor: null,
    })
    bar.start(options.totalBytes, 0)
    return new Progress(bar)
  }

  add(bytes: number): void {
    this.#bytes += bytes // may pass the total: a repair looks twice, a file grows
    this.#bar?.update(this.#bytes)
  }

  end(): void {
    this.#bar?.stop()
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}
