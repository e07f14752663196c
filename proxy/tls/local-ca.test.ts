import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { localCertificate } from './local-ca.ts'

const now = new Date('2026-11-21T12:00:00Z')
const dayMs = 86_400_000
let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'local-ca-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function make(more: { now?: Date; hostname?: string } = {}) {
  return localCertificate({ folder, hostname: 'Edge-1', now, ...more })
}

function read(file: string): X509Certificate {
  return new X509Certificate(readFileSync(file))
}

test('the local CA issues a certificate that only its owner may read', async () => {
  const files = await make()
  const ca = read(files.caFile)
  const leaf = read(files.certFile)
  expect(ca.ca).toBe(true)
  expect(leaf.verify(ca.publicKey) && leaf.checkIssued(ca)).toBe(true)
  expect(leaf.subjectAltName).toBe(
    'DNS:localhost, DNS:edge-1, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1',
  )
  expect(leaf.ca).toBe(false)
  for (const file of Object.values(files)) expect(statSync(file).mode & 0o777).toBe(0o600)
})

test('a second start keeps both', async () => {
  const first = readFileSync((await make()).certFile, 'utf8')
  expect(readFileSync((await make()).certFile, 'utf8')).toBe(first)
})

const renewals = [
  ['81 days later the certificate has 8 days left and is kept', { days: 81 }, false],
  ['82 days later the certificate is renewed by the same CA', { days: 82 }, true],
  ['a new host name needs a new certificate', { days: 0, hostname: 'edge-2' }, true],
] as const
for (const [name, { days, ...more }, isRenewed] of renewals)
  test(name, async () => {
    const before = await make()
    const [leaf, ca] = [readFileSync(before.certFile, 'utf8'), readFileSync(before.caFile, 'utf8')]
    const after = await make({ now: new Date(now.getTime() + days * dayMs), ...more })
    expect(readFileSync(after.certFile, 'utf8') !== leaf).toBe(isRenewed)
    expect(readFileSync(after.caFile, 'utf8')).toBe(ca)
    expect(read(after.certFile).verify(read(after.caFile).publicKey)).toBe(true)
  })

test('a CA that ends is made anew, and its certificate with it', async () => {
  const ca = readFileSync((await make()).caFile, 'utf8')
  const files = await make({ now: new Date(now.getTime() + 3645 * dayMs) })
  expect(readFileSync(files.caFile, 'utf8')).not.toBe(ca)
  expect(read(files.certFile).verify(read(files.caFile).publicKey)).toBe(true)
})
