/** Changes of rules, of what they include and of their data files, while requests run. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startBackend } from '../harness/backend.ts'
import { type RunningEdge, startEdge } from '../harness/edge.ts'
import { startLoad } from '../harness/load.ts'
import { metric, until } from '../harness/wait.ts'

const refused = 'edge_config_reloads_total{result="refused"}'

let folder = ''
const closers: (() => unknown)[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-rules-'))
  mkdirSync(join(folder, 'local'))
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  rmSync(folder, { recursive: true, force: true })
})

function write(name: string, text: string): void {
  writeFileSync(join(folder, `${name}.new`), text)
  renameSync(join(folder, `${name}.new`), join(folder, name))
}

const rule = (id: number, operator: string): string =>
  `SecRule ARGS "${operator}" "id:${id},phase:2,deny"\n`

async function statusOf(edge: RunningEdge, value: string): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${edge.httpPort}/?q=${value}`)
  await answer.arrayBuffer()
  return answer.status
}

async function blocks(edge: RunningEdge, value: string, status = 403): Promise<void> {
  await until(`${value} is answered with ${status}`, async () => {
    return (await statusOf(edge, value)) === status
  })
}

test('changes of rules, includes and data are seen; a broken one keeps the last', async () => {
  write('words.txt', 'alpha\n')
  write('own.conf', `${rule(1, '@pmFromFile words.txt')}IncludeOptional local/*.conf\n`)
  const backend = await startBackend()
  closers.push(() => backend.close())
  write('edge.yaml', 'waf: {setupFiles: [own.conf]}\n')
  const flags = ['--config', join(folder, 'edge.yaml'), '--backend', backend.url, '--no-redirect']
  const edge = await startEdge({ arguments: flags })
  closers.push(() => edge.stop())
  const load = startLoad([`http://127.0.0.1:${edge.httpPort}/?q=fine`])
  await blocks(edge, 'alpha')
  expect(await statusOf(edge, 'beta')).toBe(200)

  write('words.txt', 'beta\n')
  await blocks(edge, 'beta')
  await blocks(edge, 'alpha', 200)

  write('local/one.conf', rule(2, '@rx gamma'))
  await blocks(edge, 'gamma')

  write('local/one.conf', rule(2, '@rx delta('))
  await until('it is refused', async () => (await metric(edge.statusPort, refused)) > 0)
  expect(await statusOf(edge, 'gamma')).toBe(403)
  expect(await statusOf(edge, 'beta')).toBe(403)

  write('local/one.conf', rule(2, '@rx delta'))
  await blocks(edge, 'delta')

  write('edge.yaml', 'waf: {setupFiles: [own.conf], exclusions: [{rules: [2], paths: ["/"]}]}\n')
  await blocks(edge, 'delta', 200)
  expect(await statusOf(edge, 'beta')).toBe(403)

  const result = await load.stop()
  expect(result.failures).toEqual([])
  expect(result.succeeded).toBe(result.started)
}, 120_000)
