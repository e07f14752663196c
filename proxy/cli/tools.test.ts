/** The commands that need no proxy: arguments, exit codes, what they say. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ConfigError, UsageError, faultText } from '../config/faults.ts'
import { exitCodes } from './exit-codes.ts'
import { replay } from './replay.ts'
import { rules } from './rules.ts'
import { waf } from './waf.ts'

const edge = fileURLToPath(new URL('../../edge', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'edge-tools-'))
const env = { PATH: process.env['PATH'], STATE_DIRECTORY: folder }
afterAll(() => rmSync(folder, { recursive: true }))

beforeAll(() => {
  const rule = `SecRule ARGS "@contains attack" "id:1,phase:2,deny,severity:CRITICAL,\\
    tag:'paranoia-level/2',msg:'An attack'"`
  writeFileSync(join(folder, 'rules.conf'), `${rule}\n`)
  writeFileSync(join(folder, 'wrong.conf'), 'SecRule ARGS "@rx (" "id:1,phase:2,deny"\n')
  const cases = (expected: string): string => `rule_id: 1
tests:
  - test_id: 1
    stages: [{ input: { uri: '/?q=attack', headers: { Host: a } }, output: { log: ${expected} } }]
`
  writeFileSync(join(folder, 'good.yaml'), cases('{ expect_ids: [1] }'))
  writeFileSync(join(folder, 'bad.yaml'), cases('{ no_expect_ids: [1] }'))
  const override = '{ rule_id: 1, reason: because, output: { log: { expect_ids: [1] } } }'
  writeFileSync(join(folder, 'overrides.yaml'), `test_overrides: [${override}]\n`)
  const line = '192.0.2.1 - - [21/Nov/2026:14:07:55 +0000]'
  writeFileSync(join(folder, 'fine.log'), `${line} "GET /a HTTP/1.1" 200 1\n`)
  writeFileSync(join(folder, 'attack.log'), `${line} "GET /a?q=attack HTTP/1.1" 200 1\nx\n`)
})

/** The command and its answer as `main.ts` gives it; names of files are meant in the folder. */
async function run(line: string): Promise<{ code: number; told: string }> {
  const [name = '', ...words] = line.split(' ')
  const args = words.map((word) => (/\.(?:yaml|conf|log)$/.test(word) ? join(folder, word) : word))
  let told = ''
  const say = (text: string): void => {
    told += `${text}\n`
  }
  try {
    const command = { waf, replay, rules }[name]
    if (command === undefined) throw new Error(`no command ${name}`)
    const code = await command(args, { env: { STATE_DIRECTORY: folder }, print: say, error: say })
    return { code, told }
  } catch (error) {
    if (error instanceof UsageError) return { code: exitCodes.usage, told: error.message }
    if (!(error instanceof ConfigError)) throw error
    return { code: exitCodes.configInvalid, told: error.faults.map(faultText).join('\n') }
  }
}

const calls: readonly (readonly [string, number, RegExp])[] = [
  ['waf', 2, /test, serve/],
  ['waf tset', 2, /did you mean test\?/],
  ['waf test', 2, /needs a FILE or DIR/],
  ['waf test good.yaml', 78, /there are no rules/],
  ['waf test good.yaml --rules rules.conf', 0, /1 passed, 0 failed/],
  ['waf test good.yaml --rules rules.conf --http 2', 0, /1 passed/],
  ['waf test good.yaml --rules rules.conf --http 3', 0, /1 passed/],
  ['waf test good.yaml --rules rules.conf --http 4', 2, /--http takes/],
  ['waf test bad.yaml --rules rules.conf', 3, /FAIL 1-1 stage 1: expected not rule 1; seen: 1/],
  ['waf test bad.yaml --rules rules.conf --json', 3, /"expected": "not rule 1"/],
  ['waf test bad.yaml --rules rules.conf --overrides overrides.yaml', 0, /1 overrides/],
  ['waf test bad.yaml --rules rules.conf --overrides none.yaml', 78, /none\.yaml/],
  ['waf test bad.yaml --rules rules.conf --include ^2', 2, /no case is chosen/],
  ['waf test none.yaml --rules rules.conf', 78, /none\.yaml/],
  ['waf test good.yaml --rules wrong.conf', 78, /wrong\.conf:1/],
  ['waf test good.yaml --ruels rules.conf', 2, /did you mean --rules\?/],
  ['waf test good.yaml --connect 127.0.0.1:1', 1, /no connection to 127\.0\.0\.1 port 1/],
  ['waf test good.yaml --connect 127.0.0.1:1 --http 3', 2, /no HTTP\/3 client/],
  ['waf test good.yaml --connect 127.0.0.1:1 --rules rules.conf', 2, /not --rules/],
  ['waf test good.yaml --connect a/b', 2, /--connect takes/],
  ['waf test good.yaml --rules rules.conf --log x', 2, /--log needs --connect/],
  ['replay', 2, /takes one FILE/],
  ['replay fine.log --rules rules.conf', 0, /0 would be blocked/],
  ['replay attack.log --rules rules.conf', 3, /1 × rule 1 at \/a ARGS:q: An attack/],
  ['replay attack.log --rules rules.conf --json', 3, /"parameter": "ARGS:q"/],
  ['replay attack.log --rules rules.conf --top x', 2, /--top takes/],
  ['replay none.log --rules rules.conf', 78, /none\.log/],
  ['replay rules.conf --rules rules.conf', 78, /neither an access log/],
  [
    'rules list --rules rules.conf',
    0,
    / 1 {2}phase 2 {2}PL2 {2}CRITICAL .* 1 tags {2}rules\.conf:1/,
  ],
  ['rules list --rules rules.conf --json', 0, /"paranoia": 2/],
  ['rules list --rules wrong.conf more', 2, /does not take "more"/],
  ['rules list', 78, /there are no rules/],
  ['waf serve --listen nowhere --rules rules.conf', 2, /--listen: "nowhere"/],
  ['waf serve --rules none', 78, /none/],
]
for (const [line, code, told] of calls) {
  test(`edge ${line} ends with ${code}`, async () => {
    const ended = await run(line)
    expect(ended.told).toMatch(told)
    expect(ended.code).toBe(code)
  })
}

test('edge waf test judges a server by its statuses where there is no log', async () => {
  const server = createServer((request, response) => {
    response.writeHead(request.url?.includes('attack') === true ? 403 : 200).end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const against = `--connect http://127.0.0.1:${port}`
  expect(await run(`waf test good.yaml ${against}`)).toMatchObject({ code: 0 })
  expect(await run(`waf test bad.yaml ${against}`)).toMatchObject({ code: 3 })
  server.close()
})

test('edge waf serve answers on its socket until SIGTERM', async () => {
  const args = ['waf', 'serve', '--listen', '127.0.0.1:0', '--rules', 'rules.conf']
  const child = spawn(edge, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'ignore'] })
  let out = ''
  const ready = new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      out += chunk
      const url = /ready waf=(\S+)/.exec(out)?.[1]
      if (url !== undefined) resolve(url)
    })
    child.once('exit', () => reject(new Error(`it ended: ${out}`)))
  })
  const url = await ready
  const answer = await fetch(`${url}/evaluate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ method: 'GET', uri: '/?q=attack', headers: {} }),
  })
  expect(answer.status).toBe(403)
  expect(await answer.json()).toMatchObject({ allowed: false, rule_id: 1 })
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  expect(await ended).toEqual([0, null])
})
