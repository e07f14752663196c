// `npm start [-- flags of edge run]`: set-up, then the demo on the pinned Node.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { main, pinnedNode, root } from './paths.mjs'
import { ended } from './run-command.mjs'
import { setup } from './setup.mjs'

await main(async () => {
  await setup()
  const demo = join(root, 'scripts/demo.mjs')
  const child = spawn(pinnedNode, [demo, ...process.argv.slice(2)], { stdio: 'inherit' })
  // The demo ends by itself when it has stopped what it started; we only pass the wish on.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
  return ended(child)
})
