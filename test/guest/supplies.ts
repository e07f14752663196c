/** What a guest is made of: Debian's qemu, a kernel and busybox, got once into .cache/guest. */
import { execFileSync } from 'node:child_process'
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
import { basename, join } from 'node:path'
import { downloadPackage, installPrograms, unpackPackage } from '../harness/debian.ts'
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
  const missing = installPrograms(programs)
  if (missing.length > 0) throw new Error(`Debian packages are missing: ${missing.join(' ')}`)
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

/** The folder of a package: `root`, and `package` which says what it is. Fetched once. */
function unpacked(name: string): string {
  const folder = join(cache, name)
  if (existsSync(folder)) return folder
  mkdirSync(cache, { recursive: true })
  const building = mkdtempSync(join(cache, 'new-'))
  try {
    const file = downloadPackage(name, building)
    const version = basename(file, '.deb').replaceAll('%3a', ':')
    console.error(`guest: unpacking ${version}`)
    const at = join(building, 'root')
    unpackPackage(file, at)
    rmSync(file)
    if (name.startsWith('linux-image-')) listModules(at)
    writeFileSync(join(building, 'package'), version)
    if (!existsSync(folder)) renameSync(building, folder) // else another run was faster
  } finally {
    rmSync(building, { recursive: true, force: true })
  }
  return folder
}

/** Debian makes the lists of modules when a kernel is installed, which this one is not. */
function listModules(at: string): void {
  // Since 13 they lie in /usr/lib, to which /lib is a link.
  if (!existsSync(join(at, 'lib'))) symlinkSync('usr/lib', join(at, 'lib'))
  const [release = ''] = readdirSync(join(at, 'lib/modules'))
  execFileSync('depmod', ['-b', at, release])
}
