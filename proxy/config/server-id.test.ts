import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ConfigError, faultText } from './faults.ts'
import { parseConfig } from './parse.ts'

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-server-id-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function parsed(id: string, env: Record<string, string> = {}): readonly number[] | null | string {
  const text = `quic: { serverId: ${id} }\n`
  const file = { path: '/etc/edge/edge.yaml', name: 'edge.yaml', text }
  const machine = { flags: [], folder: '/srv', processors: 2, installedRules: null }
  const result = parseConfig({ file, env, ...machine })
  if (result instanceof ConfigError) return result.faults.map(faultText).join('\n')
  return result.config.quic.serverId
}

const bytes = [0x2c, 0xf0, 0x60, 0x77, 0x71, 0x8e, 0x08, 0xca]

test('a server id is digits or base64, written, in the environment or in a file', () => {
  const file = join(folder, 'id')
  writeFileSync(file, '0x2cf06077718e08ca\n')
  expect(parsed('"0x2cf06077718e08ca"')).toEqual(bytes)
  expect(parsed('LPBgd3GOCMo=')).toEqual(bytes)
  expect(parsed('env:NODE_ID', { NODE_ID: '0x2CF06077718E08CA' })).toEqual(bytes)
  expect(parsed(`file:${file}`)).toEqual(bytes)
  expect(parsed('null', { EDGE_QUIC_SERVER_ID: 'LPBgd3GOCMo=' })).toEqual(bytes)
  expect(parsed('null')).toBeNull()
})

const wrong: readonly (readonly [id: string, said: string])[] = [
  ['"0x2cf060"', '"0x2cf060" is not a server id of 8 bytes\n  mend: write 0x and 16'],
  ['0x2cf06077718e08ca', 'mend: write 0x and 16 hexadecimal digits in quotes'],
  ['env:SHORT', '"0x12" is not a server id of 8 bytes'],
  ['env:NOWHERE', 'quic.serverId: the variable NOWHERE is not set\n  mend: set NOWHERE'],
  ['env:AWS_LBC_QUIC_SERVER_ID', 'mend: label the namespace elbv2.k8s.aws/quic-server-id-inject'],
  ['file:/nowhere/id', '/nowhere/id does not exist\n  mend: correct the path'],
]

test.each(wrong)('%s is refused', (id, said) => {
  expect(parsed(id, { SHORT: '0x12' })).toContain(said)
})
