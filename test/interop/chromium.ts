/**
 * A page over forced QUIC in Chromium: `npm run e2e:chromium`. Not part of the tests, because the
 * browser is a Debian package of more than 100 MB; without it the script says so and fails.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { promisify } from 'node:util'
import { startBackend } from '../harness/backend.ts'
import { startEdge } from '../harness/edge.ts'

const chromium = '/usr/bin/chromium'

/** The hash of the edge's public key: the browser is told to trust that one only. */
function keyHash(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, servername: 'localhost', rejectUnauthorized: false }
    const socket = connect(options, () => {
      const key = socket.getPeerX509Certificate()?.publicKey
      socket.destroy()
      if (!key) return reject(new Error('the edge has no certificate'))
      const bytes = key.export({ type: 'spki', format: 'der' })
      resolve(createHash('sha256').update(bytes).digest('base64'))
    }).on('error', reject)
  })
}

async function main(): Promise<void> {
  if (!existsSync(chromium)) throw new Error(`not run: there is no ${chromium}`)
  const backend = await startBackend()
  const edge = await startEdge({ arguments: ['--backend', backend.url, '--waf', 'off'] })
  try {
    const port = edge.httpsPort
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--enable-quic']
    flags.push(`--origin-to-force-quic-on=localhost:${port}`)
    flags.push(`--ignore-certificate-errors-spki-list=${await keyHash(port)}`)
    flags.push('--host-resolver-rules=MAP localhost 127.0.0.1')
    flags.push(`--user-data-dir=${join(edge.directory, 'profile')}`, '--dump-dom')
    const page = await promisify(execFile)(chromium, [...flags, `https://localhost:${port}/`])
    const metrics = await (await fetch(`http://127.0.0.1:${edge.statusPort}/metrics`)).text()
    const connections = /^edge_connections_total\{protocol="h3"\} (\d+)$/m.exec(metrics)?.[1]
    if (!page.stdout.includes('<html') || backend.seen.length === 0 || !Number(connections)) {
      throw new Error(`no page over QUIC:\n${page.stdout}\n${metrics}`)
    }
    console.log(`ok: ${backend.seen.length} requests over ${connections} QUIC connections`)
  } finally {
    await edge.stop()
    backend.close()
  }
}

await main()
