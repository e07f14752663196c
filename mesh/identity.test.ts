import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isKey } from './entry.ts'
import {
  identityIn,
  identityOf,
  idOf,
  signRecord,
  verifiedRecord,
  verifiedRecords,
} from './identity.ts'
import { meshLimits } from './limits.ts'
import { newToken, parseToken, tokenText } from './token.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-identity-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const key = Buffer.alloc(32, 1).toString('base64')
const record = { name: 'a', key, port: 1, endpoint: null, advertise: ['10.0.0.0/8'], serial: 7 }

test('an identity is made once, for its owner alone', async () => {
  const made = await identityOf(folder)
  expect(await identityOf(folder)).toEqual(made)
  expect(statSync(join(folder, 'identity.json')).mode & 0o777).toBe(0o600)
  expect(isKey(made.wireguard.publicKey)).toBe(true)
  const shown = identityIn(new X509Certificate(made.certificate)) ?? ''
  expect(idOf(shown)).toBe(made.id)
})

test('a record is taken from its own node only, and only as it was signed', async () => {
  const own = await identityOf(folder)
  const identity = identityIn(new X509Certificate(own.certificate)) ?? ''
  const signed = signRecord(own, record)
  expect(verifiedRecord({ ...signed, identity })).toEqual(record)
  const forged = JSON.stringify({ ...record, key: Buffer.alloc(32, 2).toString('base64') })
  expect(verifiedRecord({ ...signed, record: forged, identity })).toBeNull()
  expect(verifiedRecord({ ...signed, identity: key })).toBeNull()
  expect(verifiedRecord({ ...signed, signature: 'x', identity })).toBeNull()
})

test('of many records each is judged for itself, as if it were alone', async () => {
  const own = await identityOf(folder)
  const { identity } = own
  const all = Array.from({ length: meshLimits.signaturesAtOnceMin }, (_, serial) => ({
    ...signRecord(own, { ...record, serial }),
    identity,
  }))
  const [first, second, third, fourth] = all
  if (first === undefined || second === undefined) throw new Error('too few')
  if (third === undefined || fourth === undefined) throw new Error('too few')
  all[0] = { ...first, signature: second.signature }
  all[1] = { ...second, identity: key }
  all[2] = { ...third, signature: 'x' }
  all[3] = { ...signRecord(own, { ...record, port: 0 }), identity: fourth.identity }
  const records = verifiedRecords(all)
  expect(records).toEqual(all.map(verifiedRecord))
  expect(records.slice(0, 4)).toEqual([null, null, null, null])
  expect(records.at(-1)).toEqual({ ...record, serial: all.length - 1 })
})

test('more records than are checked at once keep their order', async () => {
  const own = await identityOf(folder)
  const signed = { ...signRecord(own, record), identity: own.identity }
  const all = Array.from({ length: meshLimits.signaturesAtOnceMax + 1 }, () => signed)
  all[meshLimits.signaturesAtOnceMax - 1] = { ...signed, signature: '' }
  const records = verifiedRecords(all)
  expect(records).toHaveLength(all.length)
  expect(records.indexOf(null)).toBe(meshLimits.signaturesAtOnceMax - 1)
  expect(records.at(-1)).toEqual(record)
})

for (const wrong of [
  { key: 'c2hvcnQ=' },
  { name: 'A B' },
  { port: 0 },
  { endpoint: 'host:1' },
  { endpoint: '10.0.0.1' },
  { advertise: ['10.0.0.1/8'] },
  { serial: -1 },
])
  test(`a record with ${JSON.stringify(wrong)} is none`, async () => {
    const own = await identityOf(folder)
    const identity = identityIn(new X509Certificate(own.certificate)) ?? ''
    const signed = signRecord(own, { ...record, ...wrong })
    expect(verifiedRecord({ ...signed, identity })).toBeNull()
  })

test('a token is read as it was written; anything else is none', () => {
  const token = newToken('p'.repeat(43))
  const text = tokenText(token)
  expect(parseToken(`${text}\n`)).toEqual(token)
  for (const wrong of ['', text.slice(1), `${text}a`, text.replace('edge1', 'edge2')]) {
    expect(parseToken(wrong)).toBeNull()
  }
})
