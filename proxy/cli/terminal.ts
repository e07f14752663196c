/** What a command may touch of its surroundings, so that tests can hold it. */
import type { Environment } from '../config/environment.ts'

/** Where a command writes, and the variables it sees. */
export interface Terminal {
  readonly env: Environment
  readonly print: (line: string) => void
  readonly error: (line: string) => void
  /** Whether `print` goes to a person, so that colours help. */
  readonly colors?: boolean
}
