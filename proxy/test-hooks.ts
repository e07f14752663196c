/** Ways for a test to bring a worker down from outside. Only with EDGE_TEST_HOOKS=1. */
import type { RequestHead } from './request.ts'

const hooks: Readonly<Record<string, () => void>> = {
  throw: () => {
    throw new Error('test hook: throw')
  },
  exit: () => process.exit(1),
  loop: () => {
    for (;;) {
      // Only the supervisor ends this.
    }
  },
}

/** Runs what `x-edge-test` asks for; `throw-once` and its like spare the second worker. */
export function runTestHook(request: RequestHead): void {
  const wish = request.header('x-edge-test')
  if (wish === null || request.orphan) return
  const once = wish.endsWith('-once')
  if (once && request.facts.attempt > 0) return
  hooks[once ? wish.slice(0, -'-once'.length) : wish]?.()
}
