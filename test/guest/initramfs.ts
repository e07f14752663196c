/** The archive that a kernel unpacks as its first root: cpio in its "newc" form. */

/** One entry; folders on the way are made by the archive. */
export interface ArchiveEntry {
  readonly path: string
  readonly content?: Uint8Array | string
  /** Default: a file that all may read and run. */
  readonly mode?: number
  /** Major and minor number of a device. */
  readonly device?: readonly [number, number]
}

const folderMode = 0o040_755
const fileMode = 0o100_755
/** A character device. */
export const deviceMode = 0o020_600

/** Packs the entries (see buffer-format.rst of Linux: fields of eight hexadecimal digits). */
export function packArchive(entries: readonly ArchiveEntry[]): Buffer {
  const folders = new Set(entries.flatMap(({ path }) => foldersOf(path)))
  const all: ArchiveEntry[] = [
    ...[...folders].map((path) => ({ path, mode: folderMode })),
    ...entries,
    { path: 'TRAILER!!!', mode: 0 },
  ]
  return Buffer.concat(all.flatMap((entry, index) => packEntry(entry, index + 1)))
}

/** `a/b/c` lies in `a` and in `a/b`, and the outer one has to come first. */
function foldersOf(path: string): string[] {
  const parts = path.split('/')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'))
}

function packEntry(entry: ArchiveEntry, inode: number): Buffer[] {
  const { path, content = '', mode = fileMode, device = [0, 0] } = entry
  const body = Buffer.from(content)
  const name = Buffer.from(`${path}\0`)
  const [owner, group, links, time, check] = [0, 0, 1, 0, 0]
  const place = [0, 0, ...device]
  const fields = [inode, mode, owner, group, links, time, body.length, ...place, name.length, check]
  const head = Buffer.from(`070701${fields.map(hexadecimal).join('')}`)
  return [padded(Buffer.concat([head, name])), padded(body)]
}

function hexadecimal(value: number): string {
  return value.toString(16).padStart(8, '0').toUpperCase()
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)])
}

/** What depmod found out about the modules of a kernel. */
export interface ModuleLists {
  /** `modules.dep`: each module and, behind a colon, those it needs, the last one first. */
  readonly dependencies: string
  /** `modules.builtin`: what is no module because the kernel has it. */
  readonly builtin: string
}

/** Paths of the modules in the order in which they can be loaded; throws one sentence. */
export function loadOrder(lists: ModuleLists, wanted: readonly string[]): string[] {
  const known = new Map<string, string[]>()
  for (const line of lists.dependencies.split('\n').filter(Boolean)) {
    const [path = '', needs = ''] = line.split(':')
    known.set(moduleName(path), [...needs.split(' ').filter(Boolean).toReversed(), path])
  }
  const builtin = new Set(lists.builtin.split('\n').map(moduleName))
  const order = wanted.flatMap((name) => {
    const paths = known.get(name)
    if (paths === undefined && !builtin.has(name))
      throw new Error(`no module ${name} in the kernel`)
    return paths ?? []
  })
  return [...new Set(order)]
}

/** `kernel/fs/9p/9p.ko.xz` is `9p`; a dash and an underline are the same in such names. */
function moduleName(path: string): string {
  const file = path.slice(path.lastIndexOf('/') + 1)
  return file.replace(/\.ko(?:\.\w+)?$/, '').replaceAll('-', '_')
}
