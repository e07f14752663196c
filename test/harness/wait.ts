/** Waits for conditions, so that no test relies on a sleep of exact length. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Ends when `isTrue` holds; fails with `what` at the deadline. */
export async function until(
  what: string | (() => string),
  isTrue: () => boolean | Promise<boolean>,
  deadlineMs = 20_000,
): Promise<void> {
  const end = Date.now() + deadlineMs
  // oxlint-disable-next-line no-await-in-loop -- looks one after the other are the purpose
  while (!(await isTrue())) {
    if (Date.now() > end) {
      throw new Error(`it did not come to pass: ${typeof what === 'string' ? what : what()}`)
    }
    // oxlint-disable-next-line no-await-in-loop
    await sleep(20)
  }
}

/** The value of one series of `/metrics`; NaN when it is not there. */
export async function metric(statusPort: number, series: string): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${statusPort}/metrics`)
  const lines = (await answer.text()).split('\n')
  const line = lines.find((one) => one.startsWith(`${series} `))
  return line === undefined ? Number.NaN : Number(line.slice(series.length + 1))
}
