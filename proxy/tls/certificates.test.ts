import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ConfigError, faultText } from '../config/faults.ts'
import { readFlags } from '../config/flags.ts'
import { parseConfig } from '../config/parse.ts'
import { loadCertificates, type LoadedCertificates } from './certificates.ts'
import { localCertificate } from './local-ca.ts'

const now = new Date('2026-11-21T12:00:00Z')
let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certificates-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function load(args: readonly string[], at = now): Promise<LoadedCertificates> {
  const env = { STATE_DIRECTORY: folder }
  const flags = readFlags(args).settings
  const parsed = parseConfig({
    file: null,
    env,
    flags,
    folder,
    processors: 1,
    installedRules: null,
  })
  if (parsed instanceof ConfigError) throw parsed
  return loadCertificates({ ...parsed, env, now: at })
}

async function faults(args: readonly string[]): Promise<string[]> {
  try {
    await load(args)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults.map(faultText)
    throw error
  }
}

test('named files become the default certificate with its names', async () => {
  const local = await localCertificate({ folder, hostname: 'edge-1', now })
  const loaded = await load(['--cert', local.certFile, '--key', local.keyFile])
  expect(loaded.certificates).toMatchObject([{ names: ['localhost', 'edge-1'], isDefault: true }])
  expect(loaded.caFile).toBeNull()
})

test('without files the local CA gives one, and says where the CA is', async () => {
  const { caFile, certificates } = await load([])
  expect(caFile).toBe(join(folder, 'tls/ca.pem'))
  expect(certificates[0]?.names).toContain('localhost')
})

test('without https there is nothing to load', async () => {
  expect((await load(['--https', 'off'])).certificates).toEqual([])
})

test('an expired certificate is told, not refused', async () => {
  const local = await localCertificate({ folder, hostname: 'edge-1', now })
  const later = new Date('2027-11-21T12:00:00Z')
  const { notices } = await load(['--cert', local.certFile, '--key', local.keyFile], later)
  expect(notices.join()).toContain('expired on')
})

test('files that are missing, empty or of another pair are faults with a mend', async () => {
  const local = await localCertificate({ folder, hostname: 'edge-1', now })
  const other = await localCertificate({ folder: join(folder, 'b'), hostname: 'x', now })
  const empty = join(folder, 'empty.pem')
  writeFileSync(empty, '')
  expect(await faults(['--cert', 'nowhere.pem', '--key', empty])).toEqual([
    `--cert: ${folder}/nowhere.pem does not exist\n  mend: correct the path`,
    `--cert: ${empty} holds no private key that can be read\n` +
      '  mend: name a PEM private key without a password',
  ])
  expect(await faults(['--cert', empty, '--key', local.keyFile])).toEqual([
    `--cert: ${empty} holds no PEM certificate\n  mend: name the file with the certificate`,
  ])
  expect(await faults(['--cert', local.certFile, '--key', other.keyFile])).toEqual([
    `--cert: ${other.keyFile} is not the key of ${local.certFile}\n` +
      '  mend: name the key that the certificate was made with; the certificate comes first',
  ])
})

test('certificates that come later: a local CA until then, and nothing is missed', async () => {
  const [certFile, keyFile] = [join(folder, 'tls.crt'), join(folder, 'tls.key')]
  const env = { STATE_DIRECTORY: folder, EDGE_TLS_WHEN_MISSING: 'self-signed' }
  const { settings: flags } = readFlags(['--cert', certFile, '--key', keyFile])
  const sources = { file: null, env, flags, folder, processors: 1, installedRules: null }
  const parsed = parseConfig(sources)
  if (parsed instanceof ConfigError) throw parsed
  const waiting = await loadCertificates({ ...parsed, env, now })
  expect(waiting.caFile).toBe(join(folder, 'tls/ca.pem'))
  expect(waiting.files).toEqual(expect.arrayContaining([certFile, keyFile]))
  const made = await localCertificate({ folder: join(folder, 'b'), hostname: 'came', now })
  copyFileSync(made.certFile, certFile)
  await expect(loadCertificates({ ...parsed, env, now })).rejects.toThrow('tls.key does not exist')
  copyFileSync(made.keyFile, keyFile)
  const come = await loadCertificates({ ...parsed, env, now })
  expect(come).toMatchObject({ caFile: null, certificates: [{ names: ['localhost', 'came'] }] })
})
