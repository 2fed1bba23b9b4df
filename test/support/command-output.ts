/** A terminal for commands that run in this process: what they print and say, as lines. */
export class CommandOutput {
  readonly isJson: boolean
  readonly signal: AbortSignal = new AbortController().signal
  readonly progressStream = undefined
  readonly printed: string[] = []
  readonly said: string[] = []

  constructor(isJson = false) {
    this.isJson = isJson
  }

  writeLine(text: string): void {
    this.printed.push(text)
  }

  writeJson(value: unknown): void {
    this.printed.push(JSON.stringify(value))
  }

  say(text: string): void {
    this.said.push(text)
  }
}
