/** The operation log: what happens to the program, as JSON lines on stderr. */
import { type DestinationStream, type Logger, destination, pino } from 'pino'

export type { Logger }

// Beyond it pino drops lines: a stuck reader must not stop the program.
const bufferedBytesMax = 1_048_576

/** Nothing that a client or an operator keeps secret may appear under these names. */
export const redactedPaths: readonly string[] = [
  'authorization',
  'cookie',
  'password',
  'token',
  'key',
  'headers.authorization',
  'headers.cookie',
  'headers["set-cookie"]',
  'headers["proxy-authorization"]',
]

/** The log, and how to empty it before the process ends. */
export interface OperationLog {
  readonly log: Logger
  readonly flush: () => void
}

/** The program's log on stderr. */
export function operationLog(level: string): OperationLog {
  const stderr = destination({ dest: 2, sync: false, maxLength: bufferedBytesMax })
  return { log: createLogger(level, stderr), flush: () => flush(stderr) }
}

/** A log to any stream. */
export function createLogger(level: string, stream: DestinationStream): Logger {
  return pino(
    {
      level,
      base: null,
      redact: [...redactedPaths],
      timestamp: () => `,"timestamp":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  )
}

function flush(stderr: ReturnType<typeof destination>): void {
  try {
    stderr.flushSync()
  } catch {
    // The stream is not open yet or its reader is gone: there is nobody left to tell.
  }
}
