/** The signals of `edge run`, heard from the first moment on. */
import { exitCodes } from './cli/exit-codes.ts'

/** What signals ask for. */
export interface Signals {
  /** The first SIGTERM or SIGINT; a second one ends the process at once. */
  readonly end: Promise<string>
  /** Calls back for each SIGHUP, and at once when there was one before. */
  onHangup(listener: () => void): void
}

/** Installs the handlers: until then SIGHUP would end the program. */
export function listenToSignals(): Signals {
  const { promise: end, resolve } = Promise.withResolvers<string>()
  let asked = false
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (asked) process.exit(exitCodes.failure)
      asked = true
      resolve(name)
    })
  }
  let hungUp = false
  let listener = (): void => {
    hungUp = true
  }
  process.on('SIGHUP', () => listener())
  return {
    end,
    onHangup(next) {
      listener = next
      if (hungUp) next()
      hungUp = false
    },
  }
}
