/** What a guest is asked and made of; none is booted here (CI has no time for an emulation). */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { qemuArguments } from './guest.ts'
import { deviceMode, loadOrder, packArchive } from './initramfs.ts'
import { jobScript, parseGuest } from './options.ts'

test('a command without options gets the documented ones', () => {
  const { command, ...rest } = parseGuest(['--', 'node', '--version'])
  expect(command).toEqual(['node', '--version'])
  expect(rest).toEqual({
    memoryMib: 4096,
    cpus: 2,
    deadlineMs: 3_600_000,
    kernel: 'linux-image-amd64',
  })
})

test('options stand before the two dashes, the command behind them', () => {
  const args = ['--memory', '512', '--cpus', '1', '--deadline', '60', '--', 'ls', '--memory', '1']
  const options = parseGuest([
    ...args.slice(0, 6),
    '--kernel',
    'linux-image-6.12-amd64',
    ...args.slice(6),
  ])
  expect(options).toEqual({
    memoryMib: 512,
    cpus: 1,
    deadlineMs: 60_000,
    kernel: 'linux-image-6.12-amd64',
    command: ['ls', '--memory', '1'],
  })
})

test.each([
  [[], 'which command'],
  [['--memory', '512'], 'which command'],
  [['--memory', 'much', '--', 'ls'], '--memory much: not a whole number from 256 to 65536'],
  [['--memory', '64', '--', 'ls'], '--memory 64'],
  [['--cpus', '0', '--', 'ls'], '--cpus 0'],
  [['--cpus', '1.5', '--', 'ls'], '--cpus 1.5'],
  [['--deadline', '86401', '--', 'ls'], '--deadline 86401'],
  [['--kernel', '../../etc', '--', 'ls'], '--kernel ../../etc: not the name'],
  [['--memroy', '512', '--', 'ls'], '--memroy'],
])('%j is refused with one sentence', (args, sentence) => {
  expect(() => parseGuest(args)).toThrow(sentence)
})

test('the job hands its words, folder and limit to the command as they are', () => {
  const folder = mkdtempSync(join(tmpdir(), "edge 'guest'-"))
  try {
    const print = 'printf "%s|" "$@"; pwd; ulimit -n; echo "$EDGE_ODD"; echo "${OTHER-none}"'
    const words = ["it's", '$HOME', '', 'a b', '`x`', '\\', '"']
    const script = jobScript(['sh', '-c', print, 'sh', ...words], {
      directory: folder,
      environment: { PATH: process.env['PATH'], EDGE_ODD: "a'b $c", OTHER: 'x' },
      descriptors: 64,
    })
    const said = execFileSync('sh', ['-c', script], { encoding: 'utf8', env: {} })
    expect(said).toBe(`${words.join('|')}|${folder}\n64\na'b $c\nnone\n`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

/** Reads the archive as the kernel does: the sizes in a head say where the next one is. */
function unpack(archive: Buffer) {
  const entries: { name: string; mode: number; content: string; device: number[] }[] = []
  for (let at = 0; at < archive.length;) {
    expect(archive.toString('latin1', at, at + 6)).toBe('070701')
    const field = (index: number) =>
      Number.parseInt(archive.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16)
    const [size, nameSize] = [field(6), field(11)]
    const body = Math.ceil((at + 110 + nameSize) / 4) * 4
    const name = archive.toString('utf8', at + 110, at + 109 + nameSize)
    const content = archive.toString('utf8', body, body + size)
    entries.push({ name, mode: field(1), content, device: [field(9), field(10)] })
    at = Math.ceil((body + size) / 4) * 4
  }
  return entries
}

test('an archive has the folders first, then the files, and its trailer', () => {
  const archive = packArchive([
    { path: 'init', content: 'odd' },
    { path: 'a/b/c', content: 'é' },
    { path: 'a/d', content: '' },
    { path: 'dev/console', mode: deviceMode, device: [5, 1] },
  ])
  const file = { mode: 0o100_755, device: [0, 0] }
  const folder = { mode: 0o040_755, content: '', device: [0, 0] }
  expect(unpack(archive)).toEqual([
    { name: 'a', ...folder },
    { name: 'a/b', ...folder },
    { name: 'dev', ...folder },
    { name: 'init', content: 'odd', ...file },
    { name: 'a/b/c', content: 'é', ...file },
    { name: 'a/d', content: '', ...file },
    { name: 'dev/console', mode: 0o020_600, content: '', device: [5, 1] },
    { name: 'TRAILER!!!', mode: 0, content: '', device: [0, 0] },
  ])
})

const lists = {
  dependencies: [
    'kernel/fs/9p/9p.ko.xz: kernel/fs/netfs/netfs.ko.xz kernel/net/9p/9pnet.ko.xz',
    'kernel/fs/netfs/netfs.ko.xz:',
    'kernel/net/9p/9pnet.ko.xz: kernel/fs/netfs/netfs.ko.xz',
    'kernel/net/9p/9pnet-virtio.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz',
    'kernel/fs/overlayfs/overlay.ko:',
    '',
  ].join('\n'),
  builtin: 'kernel/drivers/virtio/virtio_pci.ko\n',
}

test('modules come behind those that they need, each once', () => {
  expect(loadOrder(lists, ['virtio_pci', '9pnet_virtio', '9p', 'overlay'])).toEqual([
    'kernel/fs/netfs/netfs.ko.xz',
    'kernel/net/9p/9pnet.ko.xz',
    'kernel/net/9p/9pnet-virtio.ko.xz',
    'kernel/fs/9p/9p.ko.xz',
    'kernel/fs/overlayfs/overlay.ko',
  ])
})

test('a module that the kernel lacks is named', () => {
  expect(() => loadOrder(lists, ['overlay', 'wireguard'])).toThrow('no module wireguard')
})

test('the machine is emulated, has no network, and cannot write to the host', () => {
  const args = qemuArguments({ kernel: '/k' }, '/run', { cpus: 3, memoryMib: 512 })
  const value = (name: string) => args[args.indexOf(name) + 1]
  expect(value('-accel')).toMatch(/^tcg,thread=multi/)
  expect(value('-smp')).toBe('3')
  expect(value('-m')).toBe('512')
  expect(value('-fsdev')).toContain('readonly=on')
  expect(args).toContain('-nodefaults')
  expect(args.join(' ')).not.toContain('net')
})
