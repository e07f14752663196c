// The addon: compiled when its sources changed, with progress, since BoringSSL takes minutes.
import { copyFileSync, existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { delimiter, join, relative } from 'node:path'
import {
  addon,
  hashOf,
  Missing,
  native,
  prebuiltAddon,
  root,
  stampOf,
  targetDir,
} from './paths.mjs'
import { collect, isInstalled, run } from './run-command.mjs'

const stamp = `${addon}.stamp`

/** Builds the addon unless one is named (EDGE_ADDON), prebuilt, or up to date. */
export async function setupAddon() {
  const named = process.env.EDGE_ADDON
  if (named) {
    if (!existsSync(named))
      throw new Missing(`setup: EDGE_ADDON names ${named}, which is not there`)
    return
  }
  const prebuilt = existsSync(prebuiltAddon) && process.env.EDGE_PREBUILT !== '0'
  if (prebuilt && !existsSync(addon)) {
    console.error(`addon: prebuilt ${relative(root, prebuiltAddon)} (EDGE_PREBUILT=0 compiles it)`)
    return
  }
  const wanted = hashOf(sources())
  if (existsSync(addon) && stampOf(stamp) === wanted) return
  await requireTools()
  await build()
  install(join(targetDir, 'release/libedge_addon.so'), wanted)
}

/** Rust and TOML files and the lockfile, in a stable order. */
function sources() {
  /** @type {string[]} */
  const found = []
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) {
        if (entry.name !== 'target' && path !== targetDir) walk(path)
      } else if (/\.(?:rs|toml)$/.test(entry.name) || entry.name === 'Cargo.lock') {
        found.push(relative(root, path))
      }
    }
  }
  walk(native)
  return found.toSorted() // one order on every disk
}

/** What bindgen needs: the library, and clang's own headers, which are packaged apart. */
function hasLibclang() {
  const folders = [process.env.LIBCLANG_PATH, '/usr/lib', '/usr/lib64', '/usr/local/lib']
  folders.push(`/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`)
  const llvms = list('/usr/lib').filter((name) => name.startsWith('llvm-'))
  folders.push(...llvms.map((name) => `/usr/lib/${name}/lib`))
  const library = folders.some((folder) =>
    list(folder ?? '').some((name) => /^libclang(?:-\d+)?\.so/.test(name)),
  )
  const resources = folders.flatMap((folder) => {
    const clang = join(folder ?? '/nowhere', 'clang')
    return list(clang).map((version) => join(clang, version, 'include/stddef.h'))
  })
  return library && resources.some((header) => existsSync(header))
}

function list(folder) {
  return folder !== '' && existsSync(folder) ? readdirSync(folder) : []
}

/** Debian packages for the tools that are not there. */
async function missingPackages() {
  const packages = []
  if (!hasLibclang()) packages.push('libclang-dev')
  if (!(await isInstalled('cmake'))) packages.push('cmake')
  if (!(await isInstalled(process.env.CXX || 'c++'))) packages.push('g++')
  if (!(await isInstalled('git'))) packages.push('git')
  if (!(await isInstalled('make'))) packages.push('make')
  return packages
}

async function requireTools() {
  // rustup installs here; a shell that was open before does not know it yet.
  process.env.PATH = [process.env.PATH, join(process.env.HOME ?? '/root', '.cargo/bin')].join(
    delimiter,
  )
  const { code, output } = await collect('cargo', ['--version'], { cwd: native })
  const version = /cargo (\d+)\.(\d+)/.exec(output)
  if (code !== 0 || version === null) {
    throw new Missing('setup: Rust is missing: install it from https://rustup.rs, then run again')
  }
  if (Number(version[1]) === 1 && Number(version[2]) < 95) {
    throw new Missing(`setup: ${version[0]} is too old (1.95 is needed): run: rustup update stable`)
  }
  let packages = await missingPackages()
  if (packages.length === 0) return
  const line = `apt-get update && apt-get install -y ${packages.join(' ')}`
  const apt = existsSync('/usr/bin/apt-get')
  if (apt && process.getuid?.() === 0) {
    console.error(`addon: ${line}`)
    await aptInstall(packages)
    packages = await missingPackages()
    if (packages.length === 0) return
  }
  const mend = apt
    ? `run: sudo sh -c '${line}'`
    : 'install cmake, a C++ compiler, make, git and libclang with its headers'
  throw new Missing(`setup: the addon's build needs ${packages.join(', ')}: ${mend}`)
}

async function aptInstall(packages) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const options = { env, stdio: ['ignore', 2, 2] }
  const code = await run('apt-get', ['-qq', 'update'], options)
  if (code !== 0)
    console.error('addon: apt-get update failed, trying with the lists that are there')
  const args = ['-qq', 'install', '-y', '--no-install-recommends', ...packages]
  await run('apt-get', args, options)
}

async function build() {
  const progress = new Progress()
  const { code, output } = await collect(
    'cargo',
    ['build', '--release', '--locked', '-p', 'edge-addon'],
    {
      cwd: native,
      env: {
        ...process.env,
        CARGO_TARGET_DIR: targetDir,
        CARGO_TERM_COLOR: 'never',
        CARGO_TERM_PROGRESS_WHEN: 'always',
        CARGO_TERM_PROGRESS_WIDTH: '120',
      },
      onText: (text) => progress.read(text),
    },
  )
  progress.end()
  if (code === 0) return
  const lines = output.split(/[\r\n]+/).filter((line) => !/^\s*(?:Building|Compiling) /.test(line))
  console.error(lines.slice(-60).join('\n'))
  throw new Missing(`setup: cargo build failed (exit code ${code}): see above`)
}

/** Copies and renames, so that a running program never sees half a file. */
function install(library, wanted) {
  const next = `${addon}.${process.pid}`
  copyFileSync(library, next)
  renameSync(next, addon)
  writeFileSync(stamp, `${wanted}\n`)
}

/** One line, rewritten on a terminal; elsewhere a line every 20 s. */
class Progress {
  constructor() {
    this.began = Date.now()

    this.state = 'starting cargo'
    this.terminal = process.stderr.isTTY === true
    this.print()
    this.timer = setInterval(() => this.print(), this.terminal ? 1_000 : 20_000)
  }

  read(text) {
    const counts = [...text.matchAll(/\] (\d+)\/(\d+)(?:: ([^\r\n]*))?/g)]
    const [, done, all, crates = ''] = counts.at(-1) ?? []
    if (done === undefined) return
    this.state = `${done}/${all} ${crates.trim().slice(0, 60)}`
    if (this.terminal) this.print()
  }

  print() {
    const seconds = Math.round((Date.now() - this.began) / 1000)
    const time = `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`
    const line = `addon: ${this.state} … ${time}`
    if (this.terminal) process.stderr.write(`\r\u001b[K${line}`)
    else console.error(line)
  }

  end() {
    clearInterval(this.timer)
    this.print()
    if (this.terminal) process.stderr.write('\n')
  }
}
