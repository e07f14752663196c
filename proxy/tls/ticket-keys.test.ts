import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ConfigError, faultText } from '../config/faults.ts'
import { parseConfig } from '../config/parse.ts'
import { loadTicketKeys, ticketKeySetOf } from './ticket-keys.ts'

const one = Buffer.alloc(48, 1).toString('base64')
const two = Buffer.alloc(48, 2).toString('base64')
let folder = ''
let file = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ticket-keys-'))
  file = join(folder, 'tickets')
})
afterEach(() => rmSync(folder, { recursive: true }))

function load(): readonly string[] {
  const text = JSON.stringify({ tls: { ticketKeyFile: 'tickets' } })
  const path = join(folder, 'edge.yaml')
  const sources = { file: { path, name: 'edge.yaml', text }, env: {}, flags: [], folder }
  const parsed = parseConfig({ ...sources, processors: 1, installedRules: null })
  if (parsed instanceof ConfigError) throw parsed
  return loadTicketKeys(parsed.config, parsed.origins)
}

function faults(text: string | null): string {
  if (text !== null) writeFileSync(file, text)
  try {
    return load().join()
  } catch (error) {
    if (error instanceof ConfigError) return error.faults.map(faultText).join('\n')
    throw error
  }
}

test('the keys come in the order of the lines, without comments', () => {
  writeFileSync(file, `# today\n${one}\n\n# yesterday\n  ${two}\r\n`)
  expect(load()).toEqual([one, two])
  expect(JSON.parse(ticketKeySetOf(load()))).toEqual({ tickets: [one, two] })
})

const cases = [
  ['no file', null, 'does not exist'],
  ['an empty file', '\n# nothing\n', 'holds no key'],
  ['a short key', `${one}\n${one.slice(4)}\n`, 'tickets:2 is not a key of 48 bytes in base64'],
  ['a long key', `AAAA${one}\n`, 'tickets:1 is not a key of 48 bytes'],
  ['no base64', `${'!'.repeat(64)}\n`, 'tickets:1 is not a key of 48 bytes'],
  ['the same key twice', `${one}\n${one}\n`, 'names a key twice'],
  [
    'too many keys',
    Array.from({ length: 17 }, (_, at) => Buffer.alloc(48, at).toString('base64')).join('\n'),
    'holds 17 keys, 16 at most',
  ],
] as const
for (const [name, text, expected] of cases) {
  test(`${name} is a fault with its place and how to mend it`, () => {
    const told = faults(text)
    expect(told).toContain(expected)
    expect(told).toContain('edge.yaml:1:')
    // A key must not get into a log.
    expect(told).not.toContain(one.slice(8, 40))
  })
}
