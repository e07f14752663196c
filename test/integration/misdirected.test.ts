/** 421 only where SNI selected a certificate that does not cover Host (RFC 9110 §15.5.20). */
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startBackend, type Backend } from '../harness/backend.ts'
import { startEdge, type RunningEdge } from '../harness/edge.ts'

let backend: Backend
let edge: RunningEdge
const directory = mkdtempSync(join(tmpdir(), 'edge-sni-'))

function certificate(name: string): string {
  const files = { cert: join(directory, `${name}.crt`), key: join(directory, `${name}.key`) }
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`]
  const out = ['-days', '2', '-keyout', files.key, '-out', files.cert]
  execFileSync('openssl', ['req', '-x509', ...key, ...subject, ...out], { stdio: 'ignore' })
  return `{ certFile: ${files.cert}, keyFile: ${files.key} }`
}

beforeAll(async () => {
  backend = await startBackend()
  const file = join(directory, 'edge.yaml')
  const certificates = ['a.test', 'b.test'].map(certificate).join(', ')
  writeFileSync(file, `tls: { certificates: [${certificates}] }\nwaf: { mode: off }\n`)
  edge = await startEdge({ arguments: ['--config', file, '--backend', backend.url] })
}, 60_000)

afterAll(async () => {
  await edge.stop()
  backend.close()
})

test.each([
  ['a.test', 'a.test', '200'],
  ['a.test', 'b.test', '200'],
  ['unknown.test', 'b.test', '200'],
  ['b.test', 'b.test', '200'],
  ['b.test', 'a.test', '421'],
  ['b.test', '127.0.0.1', '421'],
])('SNI %s with Host %s is answered with %s', async (sni, host, status) => {
  const address = `${sni}:${edge.httpsPort}`
  for (const version of ['--http1.1', '--http2']) {
    const flags = ['-sk', version, '-o', '/dev/null', '-w', '%{http_code}', '-H', `Host: ${host}`]
    const resolve = ['--resolve', `${address}:127.0.0.1`]
    const { stdout } = await promisify(execFile)('curl', [
      ...flags,
      ...resolve,
      `https://${address}/`,
    ])
    expect(stdout).toBe(status)
  }
})
