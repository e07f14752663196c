/** Debian's packages: those that must be installed, and those that are only unpacked somewhere. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const options = {
  env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  // What apt says is none of the output of a check.
  stdio: ['ignore', 'ignore', 'inherit'],
} satisfies Parameters<typeof spawnSync>[2]

function aptGet(args: readonly string[], cwd = '.'): boolean {
  return spawnSync('apt-get', ['-qq', ...args], { ...options, cwd }).status === 0
}

/**
 * Installs the packages (keys) whose program (values) is not on PATH, where root may; the packages
 * that are missing then.
 */
export function installPrograms(programs: Readonly<Record<string, string>>): readonly string[] {
  const missing = (): string[] =>
    Object.entries(programs).flatMap(([name, program]) => (isThere(program) ? [] : [name]))
  const wanted = missing()
  if (wanted.length === 0 || process.getuid?.() !== 0) return wanted
  console.error(`installing Debian's ${wanted.join(' ')}`)
  aptGet(['update'])
  aptGet(['install', '-y', '--no-install-recommends', ...wanted])
  return missing()
}

function isThere(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
}

/** Downloads the package that `name` stands for into an empty folder; the file's name. */
export function downloadPackage(name: string, folder: string): string {
  const fetch = (): boolean => {
    const real = realPackage(name)
    // Else apt warns that its own user cannot write there.
    const args = ['-o', 'APT::Sandbox::User=root', 'download', real]
    return real !== '' && aptGet(args, folder)
  }
  if (!fetch()) {
    // Lists that are old name versions that are gone. Only root may renew them.
    aptGet(['update'])
    if (!fetch()) throw new Error(`apt-get cannot download Debian's package ${name}`)
  }
  const file = readdirSync(folder).find((entry) => entry.endsWith('.deb'))
  if (file === undefined) throw new Error(`apt-get download ${name} left no package`)
  return join(folder, file)
}

/** `linux-image-amd64` is empty and depends on the image of the day; empty when there is none. */
function realPackage(name: string): string {
  const args = ['show', '--no-all-versions', name]
  const { status, stdout } = spawnSync('apt-cache', args, { encoding: 'utf8' })
  if (status !== 0) return ''
  return /^Depends:.*?\b(linux-image-\d[^\s,]*)/m.exec(stdout)?.[1] ?? name
}

/** Unpacks a package's files below a folder. */
export function unpackPackage(file: string, folder: string): void {
  execFileSync('dpkg-deb', ['--extract', file, folder])
}
