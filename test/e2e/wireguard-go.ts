/**
 * `npm run e2e:wireguard-go`: another WireGuard in a mesh of ours. Debian's wireguard-go and wg
 * take the configuration that `edge mesh export` prints, and speak with our nodes both ways.
 */
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { downloadPackage, unpackPackage } from '../harness/debian.ts'
import { root } from '../harness/edge.ts'
import { makeMachines } from '../harness/namespaces.ts'
import { until } from '../harness/wait.ts'

/** Debian's packages, unpacked below `.cache` and installed nowhere. */
function programs(): string {
  const folder = join(root, '.cache/wireguard-go')
  const bin = join(folder, 'usr/bin')
  if (existsSync(join(bin, 'wg')) && existsSync(join(bin, 'wireguard-go'))) return bin
  for (const name of ['wireguard-go', 'wireguard-tools']) {
    const parts = mkdtempSync(join(tmpdir(), 'package-'))
    unpackPackage(downloadPackage(name, parts), folder)
    rmSync(parts, { recursive: true })
  }
  return bin
}

const bin = programs()
const folder = mkdtempSync(join(tmpdir(), 'mesh-'))
const machines = makeMachines(`edge-wg-${process.pid}`, 3)
const children: ChildProcess[] = []

function start(machine: number, program: string, args: readonly string[]) {
  const child = machines.spawn(machine, program, args)
  children.push(child)
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  return { child, output: () => text }
}

async function run(machine: number, program: string, ...args: readonly string[]): Promise<string> {
  const { child, output } = start(machine, program, args)
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${output()}`)
  return output().trim()
}

const edge = join(root, 'edge')
const state = join(folder, 'coordinator')

/** A node of ours; its addresses. */
async function up(machine: number, name: string): Promise<string[]> {
  const token = await run(1, edge, 'mesh', 'token', '--state', state)
  const flags = ['--coordinator', 'https://10.77.0.1:7443', '--token', token, '--name', name]
  const agent = start(machine, edge, ['mesh', 'up', ...flags, '--state', join(folder, name)])
  await until(agent.output, () => /^ready /m.test(agent.output()), 60_000)
  return /addresses=(\S+)/.exec(agent.output())?.[1]?.split(',') ?? []
}

/** Answers on a machine; asks others from there. */
async function probe(machine: number): Promise<(address: string) => Promise<number | null>> {
  const file = join(root, 'test/harness/mesh-probe.ts')
  const child = machines.spawn(machine, process.execPath, [file, String(machine)])
  children.push(child)
  if (child.stdout === null) throw new Error('no output')
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  await answers.next()
  return async (address) => {
    child.stdin?.write(`${JSON.stringify({ ask: 'ping', address, timeoutMs: 20_000 })}\n`)
    return JSON.parse(String((await answers.next()).value)) as number | null
  }
}

/** Brings the other WireGuard up as `wg-quick` would; its addresses. */
async function foreign(machine: number): Promise<string[]> {
  const text = await run(1, edge, 'mesh', 'export', '--name', 'foreign', '--state', state)
  const addresses = (/^Address = (.*)$/m.exec(text)?.[1] ?? '').split(', ')
  const file = join(folder, 'wg.conf')
  writeFileSync(file, text.replace(/^Address = .*\n/m, ''), { mode: 0o600 })
  start(machine, join(bin, 'wireguard-go'), ['--foreground', 'wg0'])
  await until('wg0', () => machines.ip(machine, '-brief', 'link').includes('wg0'))
  await run(machine, join(bin, 'wg'), 'setconf', 'wg0', file)
  machines.ip(machine, 'link', 'set', 'wg0', 'up', 'mtu', '1420')
  for (const address of addresses) machines.ip(machine, 'address', 'add', address, 'dev', 'wg0')
  for (const [, prefixes = ''] of text.matchAll(/^AllowedIPs = (.*)$/gm)) {
    for (const one of prefixes.split(', ')) machines.ip(machine, 'route', 'add', one, 'dev', 'wg0')
  }
  return addresses.map((address) => address.split('/')[0] ?? '')
}

try {
  const coordinator = ['mesh', 'coordinator', '--listen', '10.77.0.1:7443', '--state', state]
  const running = start(1, edge, coordinator)
  await until(running.output, () => /^ready /m.test(running.output()), 60_000)
  const own = [...(await up(1, 'a')), ...(await up(2, 'b'))]
  const theirs = await foreign(3)
  const [one, two, three] = [await probe(1), await probe(2), await probe(3)]
  let failed = 0
  const check = async (name: string, ask: typeof one, address: string): Promise<void> => {
    const tookMs = await ask(address)
    if (tookMs === null) failed += 1
    console.log(`${tookMs === null ? 'FAIL' : 'ok  '} ${name} → ${address}: ${tookMs} ms`)
  }
  for (const address of own) await check('wireguard-go', three, address)
  for (const address of theirs) {
    await check('a', one, address)
    await check('b', two, address)
  }
  const wg = await run(3, join(bin, 'wg'), 'show', 'wg0')
  console.log(wg.replaceAll(/^(?: *(?:private|public) key|peer):.*\n/gm, ''))
  console.log(`${own.length + 2 * theirs.length - failed} passed, ${failed} failed`)
  process.exitCode = failed === 0 ? 0 : 1
} finally {
  for (const child of children) child.kill('SIGKILL')
  machines.remove()
  rmSync(folder, { recursive: true, force: true })
}
