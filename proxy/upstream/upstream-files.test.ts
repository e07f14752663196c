import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ConfigError, faultText } from '../config/faults.ts'
import { parseConfig } from '../config/parse.ts'
import { type LocalCertificate, localCertificate } from '../tls/local-ca.ts'
import { type UpstreamFiles, readUpstreamFiles, upstreamFileNames } from './upstream-files.ts'

const folder = mkdtempSync(join(tmpdir(), 'upstream-files-'))
let files: LocalCertificate
let others: LocalCertificate

beforeAll(async () => {
  files = await localCertificate({ folder, hostname: 'a', now: new Date() })
  others = await localCertificate({ folder: join(folder, 'b'), hostname: 'b', now: new Date() })
})
afterAll(() => rmSync(folder, { recursive: true }))

function parse(upstream: string) {
  const parsed = parseConfig({
    file: {
      path: join(folder, 'edge.yaml'),
      name: 'edge.yaml',
      text: `upstreams: [{ name: u, ${upstream} }]\n`,
    },
    env: {},
    flags: [],
    folder,
    processors: 1,
    installedRules: null,
  })
  if (parsed instanceof ConfigError) throw parsed
  return parsed
}

function read(upstream: string): UpstreamFiles | string[] {
  const { config, origins } = parse(upstream)
  try {
    return readUpstreamFiles(config, origins)[0] ?? []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults.map(faultText)
    throw error
  }
}

function textsOf(upstream: string): string[] {
  const found = read(upstream)
  return Array.isArray(found) ? found : []
}

const https = 'endpoints: [{ url: "https://h" }]'
const clear = 'endpoints: [{ url: "http://h" }]'

test('what the files hold is at hand', () => {
  const { caFile, certFile, keyFile } = files
  const pair = `clientCertFile: "${certFile}", clientKeyFile: "${keyFile}"`
  expect(read(`${https}, tls: { caFile: "${caFile}", ${pair} }`)).toEqual({
    trusted: readFileSync(caFile, 'utf8'),
    clientChain: readFileSync(certFile, 'utf8'),
    clientKey: readFileSync(keyFile, 'utf8'),
    stickyKey: '',
  })
})

test("without a file the machine's authorities are trusted, in clear nobody has to be", () => {
  const trusted = (upstream: string) => read(upstream) as UpstreamFiles
  expect(trusted(https).trusted).toContain('-----BEGIN CERTIFICATE-----')
  expect(trusted(clear).trusted).toBe('')
  expect(trusted(`${https}, tls: { verify: false }`).trusted).toBe('')
})

test('the key of sticky cookies is sealed itself, and too short a one is refused', () => {
  const [long, short] = [join(folder, 'long'), join(folder, 'short')]
  writeFileSync(long, 'x'.repeat(16))
  writeFileSync(short, 'x'.repeat(15))
  const sticky = (file: string) => `${clear}, balance: sticky, sticky: { keyFile: "${file}" }`
  expect((read(sticky(long)) as UpstreamFiles).stickyKey).toMatch(/^[0-9a-f]{64}$/)
  expect(read(sticky(short))).toEqual([
    expect.stringContaining(`${short} holds too short a secret\n  mend: write at least 16`),
  ])
  expect(upstreamFileNames(parse(sticky(long)).config)).toEqual([long])
})

test('files that are missing, empty or of another pair are faults with place and mend', () => {
  const empty = join(folder, 'empty.pem')
  writeFileSync(empty, '')
  const place = /^edge\.yaml:1:\d+: /
  const faults = (settings: string) =>
    textsOf(`${https}, tls: { ${settings} }`).map((text) => text.replace(place, ''))
  expect(faults(`caFile: "${folder}/none"`)).toEqual([
    `${folder}/none does not exist\n  mend: correct the path`,
  ])
  expect(faults(`caFile: "${empty}"`)).toEqual([
    `${empty} holds no PEM certificate\n` +
      '  mend: name a PEM file with the certificates of the authorities',
  ])
  expect(faults(`clientCertFile: "${empty}", clientKeyFile: "${files.keyFile}"`)).toEqual([
    `${empty} holds no PEM certificate\n  mend: name the file with the certificate`,
  ])
  expect(faults(`clientCertFile: "${files.certFile}", clientKeyFile: "${empty}"`)).toEqual([
    `${empty} holds no private key that can be read\n` +
      '  mend: name a PEM private key without a password',
  ])
  expect(faults(`clientCertFile: "${files.certFile}", clientKeyFile: "${others.keyFile}"`)).toEqual(
    [
      `${others.keyFile} is not the key of ${files.certFile}\n` +
        '  mend: name the key of that certificate',
    ],
  )
})
