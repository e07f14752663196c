/** `edge rules install`: the official CRS release, else Debian's package, or a local copy. */
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { crsVersion } from './rules.ts'

const execute = promisify(execFile)

/** The release that is installed, and the SHA-256 of its archive. */
export const release = {
  version: '4.28.0',
  // The same value is pinned by two unrelated projects that build on this archive; a change of
  // GitHub's packing makes it fail closed, and Debian's package (signed) takes its place.
  sha256: 'd8acc96f25ad07c8e3a595a23c797324f6d77e59ddf9e26e90dd95ebd2e676ce',
  url: 'https://github.com/coreruleset/coreruleset/archive/refs/tags/v4.28.0.tar.gz',
} as const

const archiveBytesMax = 32 * 1024 * 1024
const downloadTimeoutMs = 60_000

/** Where rules come from and go to. */
export interface InstallOptions {
  /** A local CRS folder; null: download. */
  readonly from: string | null
  /** The folder that gets `crs-<version>` and the link `current`. */
  readonly to: string
  /** Told what is tried and why something was skipped. */
  readonly log: (line: string) => void
}

/** The rules that are installed now. */
export interface Installed {
  readonly folder: string
  readonly version: string
}

/** No source had rules; the message is one sentence for the terminal. */
export class InstallError extends Error {
  override readonly name = 'InstallError'
}

/** Installs rules and makes them the current ones. */
export async function installRules(options: InstallOptions): Promise<Installed> {
  if (options.from !== null) return place(options.from, options.to)
  const scratch = mkdtempSync(join(tmpdir(), 'edge-rules-'))
  try {
    for (const fetchFrom of [fromGitHub, fromDebian]) {
      const found = await fetchFrom(scratch, options.log)
      if (found !== null) return place(found, options.to)
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
  throw new InstallError(
    'no rules could be downloaded; get a CRS release and run: ./edge rules install --from DIR',
  )
}

type Log = InstallOptions['log']

async function fromGitHub(scratch: string, log: Log): Promise<string | null> {
  log(`CRS ${release.version}: ${release.url}`)
  try {
    const archive = await download(release.url)
    const sum = createHash('sha256').update(archive).digest('hex')
    if (sum !== release.sha256) {
      log(`not used: its SHA-256 is ${sum}, pinned is ${release.sha256}`)
      return null
    }
    const file = join(scratch, 'crs.tar.gz')
    writeFileSync(file, archive)
    await execute('tar', ['-xzf', file, '-C', scratch, '--no-same-owner'])
    return join(scratch, `coreruleset-${release.version}`)
  } catch (error) {
    log(`not reachable: ${reason(error)}`)
    return null
  }
}

async function download(url: string): Promise<Uint8Array> {
  const response = await fetch(url, { signal: AbortSignal.timeout(downloadTimeoutMs) })
  if (!response.ok || response.body === null) throw new Error(`status ${response.status}`)
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of response.body) {
    bytes += piece.byteLength
    if (bytes > archiveBytesMax) throw new Error('the archive is larger than any CRS release')
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

/** apt checks the package's signature; downloading and unpacking it needs no root. */
async function fromDebian(scratch: string, log: Log): Promise<string | null> {
  log("Debian's package modsecurity-crs: apt-get download")
  const folder = join(scratch, 'debian')
  mkdirSync(folder)
  const deb = (): string | undefined => readdirSync(folder).find((name) => name.endsWith('.deb'))
  const fetchPackage = async (...options: string[]): Promise<void> => {
    const args = [...options, '-qq', 'download', 'modsecurity-crs']
    await execute('apt-get', args, { cwd: folder, timeout: downloadTimeoutMs })
  }
  try {
    await fetchPackage().catch(async () => {
      // A fresh image has no package lists; lists of our own need no root either.
      const lists = join(scratch, 'apt')
      mkdirSync(join(lists, 'lists/partial'), { recursive: true })
      mkdirSync(join(lists, 'cache/archives/partial'), { recursive: true })
      const own = [`Dir::State::Lists=${lists}/lists`, `Dir::Cache=${lists}/cache`]
      const options = own.flatMap((option) => ['-o', option])
      await execute('apt-get', [...options, '-qq', 'update'], { timeout: 2 * downloadTimeoutMs })
      await fetchPackage(...options)
    })
    const file = deb()
    if (file === undefined) throw new Error('apt-get left no package')
    const out = join(folder, 'out')
    await execute('dpkg-deb', ['-x', join(folder, file), out])
    const crs = join(folder, 'crs')
    mkdirSync(crs)
    renameSync(join(out, 'usr/share/modsecurity-crs/rules'), join(crs, 'rules'))
    copyFileSync(
      join(out, 'etc/modsecurity/crs/crs-setup.conf'),
      join(crs, 'crs-setup.conf.example'),
    )
    return crs
  } catch (error) {
    log(`not installable: ${reason(error)}`)
    return null
  }
}

/** Copies what the WAF reads, and switches the link in one step. */
function place(from: string, to: string): Installed {
  const version = crsVersion(from)
  const setups = ['crs-setup.conf', 'crs-setup.conf.example'].filter((name) =>
    existsSync(join(from, name)),
  )
  if (version === null || setups.length === 0) {
    throw new InstallError(`${from} is no CRS folder: it needs crs-setup.conf.example and rules/`)
  }
  const folder = join(to, `crs-${version}`)
  const next = join(to, `.crs-${version}.${process.pid}`)
  rmSync(next, { recursive: true, force: true })
  mkdirSync(join(next, 'rules'), { recursive: true })
  const license = existsSync(join(from, 'LICENSE')) ? ['LICENSE'] : []
  for (const name of [...setups, ...license]) copyFileSync(join(from, name), join(next, name))
  for (const name of readdirSync(join(from, 'rules'))) {
    const file = join(from, 'rules', name)
    const isNeeded = /\.(?:conf|data|conf\.example)$/.test(name) && statSync(file).isFile()
    if (isNeeded) copyFileSync(file, join(next, 'rules', name))
  }
  rmSync(folder, { recursive: true, force: true })
  renameSync(next, folder)
  const link = join(to, `.current.${process.pid}`)
  rmSync(link, { force: true })
  symlinkSync(basename(folder), link)
  renameSync(link, join(to, 'current'))
  return { folder, version }
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : ''
  return `${error.message.trim().split('\n').at(-1) ?? ''}${cause}`
}
