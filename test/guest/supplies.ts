/** What a guest is made of: Debian's qemu, a kernel and busybox, got once into .cache/guest. */
import { execFileSync, spawnSync, type SpawnSyncOptions } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { root } from '../harness/edge.ts'
import { loadOrder } from './initramfs.ts'

/** Where all of it lies; deleting it makes the next run get the newest. */
export const cache = join(root, '.cache/guest')

/** Debian's packages that have to be installed, by a program of theirs. */
const programs: Readonly<Record<string, string>> = {
  'qemu-system-x86': 'qemu-system-x86_64',
  kmod: 'depmod',
  'xz-utils': 'xz',
}

/** Modules without which the host's tree cannot be reached; all others are loaded from it. */
const firstModules = ['virtio_pci', 'virtio_console', '9pnet_virtio', '9p', 'overlay']

/** The pieces, as paths. */
export interface Supplies {
  /** Name, version and architecture of the kernel's package. */
  readonly kernelPackage: string
  readonly kernel: string
  /** Its folder of modules, with depmod's lists. */
  readonly modules: string
  readonly busybox: string
}

/** Everything that a guest with this kernel needs; throws one sentence when it cannot be had. */
export function supplies(kernel: string): Supplies {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`the guest is x86-64 Linux over the host's own tree; this is ${process.arch}`)
  }
  installPrograms()
  const folder = unpacked(kernel)
  const at = join(folder, 'root')
  const [release = ''] = readdirSync(join(at, 'lib/modules'))
  return {
    kernelPackage: readFileSync(join(folder, 'package'), 'utf8'),
    kernel: join(at, `boot/vmlinuz-${release}`),
    modules: join(at, 'lib/modules', release),
    busybox: join(unpacked('busybox-static'), 'root/bin/busybox'),
  }
}

/** The modules for the first root, in their order, as the kernel takes them. */
export function firstModulesOf({ modules }: Supplies): { name: string; content: Buffer }[] {
  const list = (name: string) => readFileSync(join(modules, name), 'latin1')
  const lists = { dependencies: list('modules.dep'), builtin: list('modules.builtin') }
  return loadOrder(lists, firstModules).map((path) => {
    const file = join(modules, path)
    const maxBuffer = 64 * 1024 * 1024
    const content = path.endsWith('.xz')
      ? execFileSync('xz', ['-dc', file], { maxBuffer })
      : readFileSync(file)
    return { name: path.replaceAll('/', '-').replace(/\.xz$/, ''), content }
  })
}

const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
const quiet: SpawnSyncOptions = { env: environment, stdio: ['ignore', 'ignore', 'inherit'] }

function isThere(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
}

function installPrograms(): void {
  const missing = () => Object.keys(programs).filter((name) => !isThere(programs[name] ?? ''))
  if (missing().length === 0) return
  if (process.getuid?.() === 0) {
    console.error(`guest: installing ${missing().join(' ')}`)
    spawnSync('apt-get', ['-qq', 'update'], quiet)
    spawnSync('apt-get', ['-qq', 'install', '-y', '--no-install-recommends', ...missing()], quiet)
  }
  const left = missing()
  if (left.length > 0) throw new Error(`Debian packages are missing: ${left.join(' ')}`)
}

/** The folder of a package: `root`, and `package` which says what it is. Fetched once. */
function unpacked(name: string): string {
  const folder = join(cache, name)
  if (existsSync(folder)) return folder
  mkdirSync(cache, { recursive: true })
  const building = mkdtempSync(join(cache, 'new-'))
  try {
    const file = download(name, building)
    console.error(`guest: unpacking ${file}`)
    const at = join(building, 'root')
    execFileSync('dpkg-deb', ['-x', join(building, file), at])
    rmSync(join(building, file))
    if (name.startsWith('linux-image-')) listModules(at)
    writeFileSync(join(building, 'package'), file.replace(/\.deb$/, '').replaceAll('%3a', ':'))
    if (!existsSync(folder)) renameSync(building, folder) // else another run was faster
  } finally {
    rmSync(building, { recursive: true, force: true })
  }
  return folder
}

/** Downloads the package that `name` stands for; returns the file's name. */
function download(name: string, directory: string): string {
  const fetch = () => {
    const real = realPackage(name)
    // Else apt warns that its own user cannot write there.
    const args = ['-qq', '-o', 'APT::Sandbox::User=root', 'download', real]
    const options = { ...quiet, cwd: directory }
    return real !== '' && spawnSync('apt-get', args, options).status === 0
  }
  if (!fetch()) {
    // Lists that are old name versions that are gone. Only root may renew them.
    spawnSync('apt-get', ['-qq', 'update'], quiet)
    if (!fetch()) throw new Error(`apt-get cannot download Debian's package ${name}`)
  }
  const file = readdirSync(directory).find((entry) => entry.endsWith('.deb'))
  if (file === undefined) throw new Error(`apt-get download ${name} left no package`)
  return file
}

/** `linux-image-amd64` is empty and depends on the image of the day; empty when there is none. */
function realPackage(name: string): string {
  const args = ['show', '--no-all-versions', name]
  const { status, stdout } = spawnSync('apt-cache', args, { encoding: 'utf8' })
  if (status !== 0) return ''
  return /^Depends:.*?\b(linux-image-\d[^\s,]*)/m.exec(stdout)?.[1] ?? name
}

/** Debian makes the lists of modules when a kernel is installed, which this one is not. */
function listModules(at: string): void {
  // Since 13 they lie in /usr/lib, to which /lib is a link.
  if (!existsSync(join(at, 'lib'))) symlinkSync('usr/lib', join(at, 'lib'))
  const [release = ''] = readdirSync(join(at, 'lib/modules'))
  execFileSync('depmod', ['-b', at, release])
}
