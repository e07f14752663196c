/** `edge explain` without a process of its own. */
import { setTimeout as sleep } from 'node:timers/promises'
import { explain } from '../../proxy/cli/explain.ts'
import { UsageError } from '../../proxy/config/faults.ts'

/** What it printed, and its exit code. */
export interface Explained {
  readonly code: number
  readonly out: string
  readonly err: string
}

const deadlineMs = 20_000

/** Runs it once. */
export async function explained(...args: readonly string[]): Promise<Explained> {
  const [out, err]: [string[], string[]] = [[], []]
  try {
    const code = await explain(args, {
      env: {},
      print: (line) => void out.push(line),
      error: (line) => void err.push(line),
    })
    return { code, out: out.join('\n'), err: err.join('\n') }
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    return { code: 2, out: '', err: error.message }
  }
}

/** Waits for the event: an answer is at the client before its outcome is at the event store. */
export async function explainedSoon(...args: readonly string[]): Promise<Explained> {
  for (const end = Date.now() + deadlineMs; ;) {
    const result = await explained(...args)
    if (!result.err.includes('no event of request') || Date.now() > end) return result
    await sleep(50)
  }
}
