/** SIGHUP of `edge waf serve`, while proxies with old and with new rules ask it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Backend, startBackend } from '../harness/backend.ts'
import { type RunningEdge, startEdge } from '../harness/edge.ts'
import { startWafService } from '../harness/waf-service.ts'
import { until } from '../harness/wait.ts'

const ruleAbout = (word: string): string => `
SecRuleEngine On
SecRule ARGS "@contains ${word}" "id:1,phase:2,deny,status:406,log"
`

let folder = ''
let backend: Backend

/** The rules of one program, in a folder of its own: its flags, and how they are changed. */
function place(name: string, text: string) {
  const at = join(folder, name)
  mkdirSync(at)
  const rules = join(at, 'rules.conf')
  const write = (next: string): void => writeFileSync(rules, next)
  write(text)
  writeFileSync(join(at, 'edge.yaml'), 'waf: { rules: null, service: { timeout: 3s } }\n')
  return { flags: ['--config', join(at, 'edge.yaml'), '--waf-setup', rules], write }
}

const status = async ({ httpPort }: Pick<RunningEdge, 'httpPort'>, word: string) => {
  const answer = await fetch(`http://127.0.0.1:${httpPort}/?q=${word}`)
  await answer.arrayBuffer()
  return answer.status
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'edge-waf-reload-'))
  backend = await startBackend()
})
afterAll(() => {
  backend.close()
  rmSync(folder, { recursive: true, force: true })
})

test('rules change in the service first, then in the proxies, and nothing is refused', async () => {
  const theirs = place('service', ruleAbout('first'))
  const ours = place('proxy', ruleAbout('first'))
  const service = await startWafService(theirs.flags)
  const asks = ['--waf-service', `127.0.0.1:${service.port}`]
  const flags = [...ours.flags, ...asks, '--backend', backend.url, '--no-redirect']
  const edge = await startEdge({ arguments: flags, readyTimeoutMs: 100_000 })
  const evaluate = async (word: string): Promise<number> => {
    const call = { method: 'GET', uri: `/?q=${word}`, headers: { host: 'h.example' }, body: '' }
    const body = JSON.stringify({ ...call, remote_addr: '192.0.2.1' })
    const url = `http://127.0.0.1:${service.httpPort}/evaluate`
    return (await fetch(url, { method: 'POST', body })).status
  }
  const reloaded = async (times: number): Promise<void> => {
    const told = () => service.output().split('the rules were reloaded').length - 1
    await until('the service took its rules', () => told() >= times, 60_000)
  }
  let isOver = false
  const seen = new Map<number, number>()
  const steady = (async () => {
    while (!isOver) {
      const answer = await status(edge, 'fine')
      seen.set(answer, (seen.get(answer) ?? 0) + 1)
    }
  })()
  expect(await status(edge, 'first')).toBe(406)
  expect(await status(edge, 'second')).toBe(200)

  theirs.write(ruleAbout('second'))
  service.process.kill('SIGHUP')
  await reloaded(1)
  expect(await evaluate('second')).toBe(403)
  expect(await evaluate('first')).toBe(200)
  // The proxy still asks about the rules that it has.
  expect(await status(edge, 'first')).toBe(406)

  ours.write(ruleAbout('second'))
  await until('the new rules judge', async () => (await status(edge, 'second')) === 406, 60_000)
  expect(await status(edge, 'first')).toBe(200)

  theirs.write('SecRule ARGS\n')
  service.process.kill('SIGHUP')
  await until('it is refused', () => service.output().includes('reload refused'), 60_000)
  expect(await status(edge, 'second')).toBe(406)
  expect(service.output()).toContain('rules.conf:1')

  isOver = true
  await steady
  expect([...seen.keys()]).toEqual([200])

  // Two reloads on, a proxy that took none of them over asks about rules that are gone.
  for (const [times, word] of ['third', 'fourth'].entries()) {
    theirs.write(ruleAbout(word))
    service.process.kill('SIGHUP')
    await reloaded(times + 2)
  }
  expect(await evaluate('fourth')).toBe(403)
  expect(await status(edge, 'second')).toBe(503)
  expect(await edge.stop()).toBe(0)
  expect(await service.stop()).toBe(0)
}, 180_000)
