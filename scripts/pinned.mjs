// `node scripts/pinned.mjs FILE.ts …`: set-up, then the file on the pinned Node.
import { main, pinnedNode, root } from './paths.mjs'
import { run } from './run-command.mjs'
import { setup } from './setup.mjs'

await main(async () => {
  await setup()
  return run(pinnedNode, process.argv.slice(2), { cwd: root })
})
