// `npm test [-- arguments of vitest]`: set-up, then the tests on the pinned Node.
import { join } from 'node:path'
import { main, pinnedNode, root } from './paths.mjs'
import { run } from './run-command.mjs'
import { setup } from './setup.mjs'

await main(async () => {
  await setup()
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  return run(pinnedNode, [vitest, 'run', ...process.argv.slice(2)], { cwd: root })
})
