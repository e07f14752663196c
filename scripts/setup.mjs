// `npm run setup`: everything the program needs and only that. For Node 20; does nothing twice.
import { existsSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { setupAddon } from './build-addon.mjs'
import { bundle } from './bundle.mjs'
import { hashOf, isMain, main, Missing, pinnedNode, root, stampOf } from './paths.mjs'
import { run } from './run-command.mjs'

/** Packages of the lockfile, the addon and the bundle; throws `Missing` with one sentence. */
export async function setup() {
  if (process.platform !== 'linux') throw new Missing('setup: only Linux is supported')
  await installPackages()
  if (!existsSync(pinnedNode)) {
    throw new Missing(`setup: no Node ${process.arch} package: npm must not omit optional packages`)
  }
  await setupAddon()
  await bundle()
}

async function installPackages() {
  const stamp = join(root, 'node_modules/.setup-stamp')
  const wanted = hashOf(['package-lock.json'])
  if (stampOf(stamp) === wanted) return
  console.error('packages: npm ci')
  const [npm, ...before] = npmCommand()
  const args = [...before, 'ci', '--no-audit', '--no-fund', '--loglevel=error']
  // node_modules/.bin holds a `node` that `npm ci` deletes while it runs.
  const PATH = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => !folder.endsWith('node_modules/.bin'))
    .join(delimiter)
  const code = await run(npm, args, {
    cwd: root,
    env: { ...process.env, PATH, npm_config_include: 'dev', npm_config_omit: '' },
    stdio: ['ignore', 2, 2],
  })
  if (code !== 0) throw new Missing(`setup: npm ci failed (exit code ${code}): see above`)
  writeFileSync(stamp, `${wanted}\n`)
}

/** The npm that started us with its own Node, else the one on PATH. */
function npmCommand() {
  const { npm_execpath: npm, npm_node_execpath: node } = process.env
  const usable = npm && node && npm.endsWith('.js') && !node.includes('node_modules/node-linux-')
  return usable && existsSync(npm) && existsSync(node) ? [node, npm] : ['npm']
}

if (isMain(import.meta.url)) {
  await main(async () => {
    await setup()
    console.error('setup: everything is there')
  })
}
