/**
 * Warden: a shell that waits for this program's end and then kills the processes that are still there: were this program killed (-9), its
 * children, which are in process groups of their own, would go on for ever.
 *
 * Ordering  each process is named when it has started, and taken off as soon as its end is seen: an id that the system gives to somebody
 *           else later is not on the list
 * Failure   where there is no sh nothing is watched
 */
import { type ChildProcess, spawn } from 'node:child_process'

/** Lines "up PID" and "down PID"; at the end of input, whoever is up goes. */
const SCRIPT = `
pids=' '
while read -r word pid; do
  case "$word" in
    up) pids="$pids$pid " ;;
    down) pids="\${pids%% $pid *} \${pids#* $pid }" ;;
  esac
done
for pid in $pids; do kill -9 "$pid"; done 2>/dev/null
`

export class Warden {
  readonly #shell: ChildProcess

  constructor() {
    this.#shell = spawn('sh', ['-c', SCRIPT], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
    this.#shell.on('error', () => {})
    this.#shell.stdin?.on('error', () => {})
    this.#shell.unref()
  }

  onUp(pid: number): void {
    this.#shell.stdin?.write(`up ${pid}\n`)
  }

  onDown(pid: number): void {
    this.#shell.stdin?.write(`down ${pid}\n`)
  }

  /** Nothing is left to be watched. */
  close(): void {
    this.#shell.stdin?.end()
  }
}
