// A tar archive (ustar) of entries in memory or on disk, the same bytes for the same contents.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

const block = 512
const types = { file: '0', link: '2', folder: '5' }

/**
 * One file, symbolic link or folder of an archive.
 * @typedef {{ path: string, type: 'file' | 'link' | 'folder', mode: number, owner?: number,
 *   text?: string | Uint8Array, source?: string, target?: string }} Entry
 */

/** The archive; no times, no names of users: nothing of the machine is in it. */
export function tarOf(/** @type {readonly Entry[]} */ entries) {
  const parts = entries.flatMap((entry) => {
    const body = entry.type === 'file' ? contentOf(entry) : Buffer.alloc(0)
    const padding = Buffer.alloc((block - (body.length % block)) % block)
    return [header(entry, body.length), body, padding]
  })
  return Buffer.concat([...parts, Buffer.alloc(2 * block)])
}

/** What a file entry holds. */
export function contentOf(/** @type {Entry} */ { text, source }) {
  return source === undefined ? Buffer.from(text ?? '') : readFileSync(source)
}

/** `sha256:…` of some bytes, as image formats write it. */
export function digestOf(bytes) {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

function header({ path, type, mode, target = '', owner = 0 }, size) {
  const head = Buffer.alloc(block)
  const [name, prefix] = split(type === 'folder' ? `${path}/` : path)
  head.write(name, 0)
  writeOctal(head, 100, 8, mode)
  writeOctal(head, 108, 8, owner)
  writeOctal(head, 116, 8, owner)
  writeOctal(head, 124, 12, size)
  writeOctal(head, 136, 12, 0)
  head.write('        ', 148)
  head.write(types[type], 156)
  head.write(target, 157)
  head.write('ustar\u{0}00', 257)
  head.write(prefix, 345)
  writeOctal(
    head,
    148,
    7,
    head.reduce((sum, byte) => sum + byte, 0),
  )
  return head
}

function writeOctal(head, at, length, value) {
  head.write(`${value.toString(8).padStart(length - 1, '0')}\u{0}`, at)
}

/** ustar keeps 100 bytes of a path, and 155 of what stands before one of its slashes. */
function split(path) {
  if (Buffer.byteLength(path) <= 100) return [path, '']
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)]
    if (name !== '' && Buffer.byteLength(name) <= 100 && Buffer.byteLength(prefix) <= 155) {
      return [name, prefix]
    }
  }
  throw new Error(`tar: ${path} is too long`)
}
