// The program as a few files of plain JavaScript in `dist/`: Node starts from them in two thirds of
// the CPU time that 250 modules of TypeScript take. `edge` runs them while no source is newer.
import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { isMain, main, root } from './paths.mjs'

const output = join(root, 'dist')
const entry = join(root, 'proxy/main.ts')
/** What the program is made of; `edge` looks at the same. */
const sources = ['proxy', 'waf', 'kubernetes', 'mesh', 'native/load.ts', 'package-lock.json']

/** Makes `dist/` when something that it is made of is newer. */
export async function bundle() {
  const made = statSync(join(output, 'main.js'), { throwIfNoEntry: false })?.mtimeMs ?? 0
  if (sources.every((name) => newestOf(join(root, name)) <= made)) return
  const { rolldown } = await import('rolldown') // not there before `npm ci`
  const making = await rolldown({ input: { main: entry }, platform: 'node', plugins: [places] })
  const fresh = `${output}.${process.pid}`
  try {
    await making.write({
      dir: fresh,
      format: 'esm',
      chunkFileNames: '[name].js',
      comments: { annotation: true, jsdoc: false, legal: true },
    })
    spellOut(fresh)
    rmSync(output, { recursive: true, force: true })
    renameSync(fresh, output)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
    await making.close()
  }
}

function newestOf(path) {
  const state = statSync(path)
  const below = state.isDirectory() ? readdirSync(path) : []
  return Math.max(state.mtimeMs, ...below.map((name) => newestOf(join(path, name))))
}

// A module that names a file by `import.meta.url` means one beside its source: files are looked for
// where the source stands, threads begin with a file of the bundle.
const places = {
  name: 'places',
  transform(code, file) {
    if (!code.includes('import.meta.url') || file.includes('node_modules')) return null
    return code.replaceAll(/new URL\('([^']+)', import\.meta\.url\)/g, (_, name) => {
      if (!name.endsWith('.ts')) {
        const source = JSON.stringify(`../${relative(root, file)}`)
        return `new URL('${name}', new URL(${source}, import.meta.url))`
      }
      const thread = join(dirname(file), name)
      const fileName = relative(root, thread).replaceAll('/', '-').replace(/\.ts$/, '.js')
      this.emitFile({ type: 'chunk', id: thread, fileName })
      return `new URL('./${fileName}', import.meta.url)`
    })
  },
}

// Node keeps the source of what it runs: two bytes for each character if one of them is not of
// ASCII. Such ones stand in texts only, where they can be written by their numbers.
function spellOut(folder) {
  for (const name of readdirSync(folder)) {
    const file = join(folder, name)
    const text = readFileSync(file, 'utf8')
    const number = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
    writeFileSync(file, text.replaceAll(/[^\0-\u007f]/g, number))
  }
}

if (isMain(import.meta.url)) await main(bundle)
