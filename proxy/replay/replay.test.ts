import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import type { OfflineRequest } from '../../waf/offline/engine.ts'
import { createEngine } from '../../waf/offline/engine.ts'
import { ConfigError } from '../config/faults.ts'
import { type LogLimits, defaultLogLimits, openLog } from './read-log.ts'
import { replayLog } from './replay.ts'

const folder = mkdtempSync(join(tmpdir(), 'edge-replay-'))
const rules = `
SecRuleEngine On
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "@beginsWith application/json" \
  "id:90,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule ARGS|REQUEST_HEADERS:User-Agent "@contains attack" \
  "id:1,phase:2,pass,setvar:tx.score=5,msg:'An attack'"
SecRule TX:score "@ge 5" "id:2,phase:2,deny"
`
const engine = createEngine([{ file: 'test.conf', text: rules }])
afterAll(() => {
  engine.close()
  rmSync(folder, { recursive: true })
})

async function read(text: string | Buffer, limits: Partial<LogLimits> = {}) {
  const file = join(folder, 'log')
  writeFileSync(file, text)
  const { format, entries } = await openLog(file, { ...defaultLogLimits, ...limits })
  const requests: (OfflineRequest | string)[] = []
  for await (const entry of entries) {
    if (entry !== null) requests.push('reason' in entry ? entry.reason : entry.request)
  }
  return { format, requests }
}

const time = '[21/Nov/2026:14:07:55 +0000]'
const har = (entries: readonly unknown[]): string =>
  JSON.stringify({ log: { version: '1.2', entries } })

const known: readonly (readonly [string, string, Partial<OfflineRequest>])[] = [
  [
    'common',
    `192.0.2.1 - - ${time} "GET /a?b=1 HTTP/1.0" 200 5`,
    { method: 'GET', target: '/a?b=1', protocol: 'HTTP/1.0', peer: '192.0.2.1' },
  ],
  [
    'common',
    `::1 - "a b" ${time} "POST /\\x22 HTTP/2.0" 200 - "https://r/" "A \\"B\\" \\\\"`,
    {
      target: '/"',
      protocol: 'HTTP/2.0',
      timeMs: Date.UTC(2026, 10, 21, 14, 7, 55),
      headers: [
        ['Host', 'localhost'],
        ['User-Agent', 'A "B" \\'],
        ['Referer', 'https://r/'],
        ['Accept', '*/*'],
        ['Content-Length', '0'],
      ],
    },
  ],
  [
    'access',
    JSON.stringify({
      timestamp: '2026-11-21T14:07:55.000Z',
      log: 'access',
      'request.id': 'r1',
      'network.protocol.version': '3',
      'client.address': '192.0.2.9',
      'http.request.method': 'GET',
      'server.address': 'a.example',
      'url.path': '/p',
      'url.query': 'q=1',
    }),
    { target: '/p?q=1', protocol: 'HTTP/3.0', peer: '192.0.2.9', uniqueId: 'r1' },
  ],
  [
    'audit',
    JSON.stringify({
      transaction: {
        client_ip: '192.0.2.2',
        client_port: 5,
        request: {
          method: 'PUT',
          http_version: 1.1,
          uri: '/\u00fc',
          body: 'x',
          headers: { Host: 'a' },
        },
      },
    }),
    {
      method: 'PUT',
      target: '/\u00c3\u00bc',
      peerPort: 5,
      headers: [['Host', 'a']],
      body: Buffer.from('x'),
    },
  ],
  [
    'har',
    har([
      {
        request: {
          method: 'POST',
          url: 'https://a.example/x?y=%41#z',
          httpVersion: 'h2',
          headers: [
            { name: ':authority', value: 'a.example' },
            { name: 'accept', value: '*/*' },
          ],
          postData: {
            mimeType: 'application/x-www-form-urlencoded',
            params: [{ name: 'a b', value: '1' }],
          },
        },
      },
    ]),
    { target: '/x?y=%41', protocol: 'HTTP/2.0', body: Buffer.from('a+b=1') },
  ],
]
for (const [format, text, expected] of known) {
  test(`a log in ${format} format is known and read: ${text.slice(0, 40)}`, async () => {
    const found = await read(`\n${text}\n`)
    expect(found.format).toBe(format)
    expect(found.requests).toEqual([expect.objectContaining(expected)])
  })
}

test('what cannot be read is told, and does not stop the rest', async () => {
  const line = `192.0.2.1 - - ${time} "GET / HTTP/1.1" 200 5`
  const broken = `192.0.2.1 - - ${time} "\\x16\\x03" 400 0`
  const { requests } = await read([line, 'rubbish', '', broken, line].join('\r\n'))
  expect(requests.map((one) => typeof one)).toEqual(['object', 'string', 'string', 'object'])
})

test('a line over its limit is skipped, and entries beyond theirs are not read', async () => {
  const line = `192.0.2.1 - - ${time} "GET / HTTP/1.1" 200 5`
  const text = [line, `${line} ${'x'.repeat(2_000)}`, line, line].join('\n')
  const { requests } = await read(text, { lineBytesMax: 1_000, entriesMax: 3 })
  expect(requests).toEqual([
    expect.any(Object),
    'is over lineBytesMax (1000)',
    expect.any(Object),
    'is beyond entriesMax (3)',
  ])
})

test.each(['', 'hello\nworld\n', '{"a":1}', '\u0000\u0001'])(
  'a file that is no log is refused: %j',
  async (text) => {
    await expect(read(text)).rejects.toThrow(ConfigError)
  },
)

test('a document over its limit is refused', async () => {
  await expect(read(har([]), { documentBytesMax: 10 })).rejects.toThrow(ConfigError)
})

test('findings are counted by rule, path and parameter, worst first', async () => {
  const entry = (target: string, line: number, agent = 'x') => ({
    line,
    request: { method: 'GET', target, headers: [['User-Agent', agent] as const] },
  })
  async function* log() {
    yield entry('/a?q=attack', 1)
    yield { line: 2, reason: 'rubbish' }
    yield entry('/b?q=fine', 3)
    yield entry('/b?q=attack', 4, 'attack')
    yield null
    yield entry('/b?q=an+attack&q=attack', 6)
  }
  const report = await replayLog(log(), engine)
  expect(report).toMatchObject({ requests: 4, wouldBlock: 3, unread: 1, notInspected: 0 })
  expect(report.faults).toEqual([{ line: 2, reason: 'rubbish' }])
  expect(report.findings).toMatchObject([
    { rule: 1, path: '/b', parameter: 'ARGS:q', requests: 2, example: { line: 4 } },
    { rule: 1, path: '/a', parameter: 'ARGS:q', requests: 1, message: 'An attack' },
    { rule: 1, path: '/b', parameter: 'REQUEST_HEADERS:User-Agent', requests: 1 },
  ])
})
