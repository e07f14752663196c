// `npm run fuzz [SECONDS] [TARGET…]`: runs the cargo-fuzz targets of native/fuzz, one after the
// other, from the committed seeds. What they find lies in native/fuzz/artifacts.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { native, targetDir } from './paths.mjs'

const folder = join(native, 'fuzz')
const path = [process.env.PATH, join(process.env.HOME ?? '/root', '.cargo/bin')].join(delimiter)
const env = { ...process.env, PATH: path, CARGO_TARGET_DIR: join(targetDir, 'fuzz') }

/** What the program printed, or null when it cannot run. */
function output(program, args) {
  const { status, stdout } = spawnSync(program, args, { env, encoding: 'utf8' })
  return status === 0 ? stdout : null
}

/** What is missing, with the command that installs it. */
function missing() {
  const toolchains = output('rustup', ['toolchain', 'list']) ?? ''
  if (!toolchains.includes('nightly')) {
    return 'no nightly toolchain: rustup toolchain install nightly --profile minimal'
  }
  if (output('cargo', ['fuzz', '--version']) === null) {
    return 'no cargo-fuzz: cargo install cargo-fuzz --version 0.13.1 --locked'
  }
  return null
}

/** A seed line as bytes: `\xNN` stands for one that is not printable. */
function unescaped(line) {
  const text = line.replaceAll(/\\x([0-9a-f]{2})/g, (_, hex) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(text, 'latin1')
}

/** Writes the seeds of a target where libFuzzer reads them; it adds what it finds there. */
function corpusOf(target) {
  const corpus = join(folder, 'corpus', target)
  mkdirSync(corpus, { recursive: true })
  const lines = readFileSync(join(folder, 'seeds', `${target}.txt`), 'utf8')
    .trimEnd()
    .split('\n')
  for (const [index, line] of lines.entries()) {
    writeFileSync(join(corpus, `seed-${index}`), unescaped(line))
  }
  return corpus
}

function run(target, seconds) {
  const corpus = corpusOf(target)
  const limits = [
    `-max_total_time=${seconds}`,
    '-max_len=40000',
    '-timeout=5',
    '-rss_limit_mb=1024',
  ]
  const args = ['+nightly', 'fuzz', 'run', '--fuzz-dir', folder, target, corpus, '--', ...limits]
  const { status } = spawnSync('cargo', args, { cwd: native, env, stdio: 'inherit' })
  return status === 0
}

const [seconds = '60', ...chosen] = process.argv.slice(2)
if (!/^\d+$/.test(seconds)) {
  console.error('usage: npm run fuzz [SECONDS] [TARGET…]')
  process.exit(2)
}
const absent = missing()
if (absent !== null) {
  console.error(`NOT RUN: ${absent}`)
  process.exit(1)
}
const all = readdirSync(join(folder, 'seeds')).map((file) => file.replace(/\.txt$/, ''))
const failed = (chosen.length > 0 ? chosen : all).filter((target) => !run(target, seconds))
console.log(failed.length === 0 ? 'fuzz: nothing found' : `fuzz: FOUND in ${failed.join(', ')}`)
process.exit(failed.length === 0 ? 0 : 1)
