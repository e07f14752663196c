/**
 * Chromium over forced QUIC: `npm run e2e:chromium`. Retry, resumption, a NAT that rebinds, the
 * browser's own move to another port, and its key updates. Not part of the tests, because the
 * browser is a Debian package of more than 100 MB; without it the script says so and fails.
 */
import { createHash } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { startBackend } from '../harness/backend.ts'
import { startEdge } from '../harness/edge.ts'
import { startUdpRelay } from '../harness/udp-relay.ts'
import { metric, until } from '../harness/wait.ts'
import { chromium, startBrowser } from './browser.ts'

/** Packets that the browser sends under one key: its flag for tests, 2^23 otherwise. */
const packetsPerKey = 60

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

/** `base::FieldTrial` parameters: `QUIC` is the trial that network settings are read from. */
const keyUpdates = [
  '--force-fieldtrials=QUIC/Enabled',
  '--force-fieldtrial-params=QUIC.Enabled:set_quic_flags/' +
    `FLAGS_quic_key_update_confidentiality_limit%3D${packetsPerKey}`,
]

function check(what: string, isTrue: boolean): void {
  if (!isTrue) throw new Error(`it is not so: ${what}`)
  console.log(`ok: ${what}`)
}

function equal(what: string, got: number, expected: number): void {
  check(`${what}: ${got} of ${expected}`, got === expected)
}

async function main(directory: string): Promise<void> {
  if (!existsSync(chromium)) throw new Error(`not run: there is no ${chromium}`)
  const config = join(directory, 'edge.yaml')
  // Every client must prove its address, and connections end soon when nothing is asked.
  const limits = { quicRetryFrom: 0, quicIdleTimeout: '8s' }
  writeFileSync(config, JSON.stringify({ limits, waf: { mode: 'off' } }))
  const backend = await startBackend()
  const edge = await startEdge({ arguments: ['--config', config, '--backend', backend.url] })
  const relay = await startUdpRelay(edge.httpsPort)
  const count = async (name: string): Promise<number> =>
    (await metric(edge.statusPort, `edge_quic_${name}_total`)) || 0
  const origin = `localhost:${relay.port}`
  const browser = await startBrowser(directory, [
    '--enable-quic',
    `--origin-to-force-quic-on=${origin}`,
    `--ignore-certificate-errors-spki-list=${await keyHash(edge.httpsPort)}`,
    '--host-resolver-rules=MAP localhost 127.0.0.1',
    ...keyUpdates,
  ])
  const ask = (): Promise<unknown> => browser.evaluate(`fetch('/hello').then((one) => one.text())`)
  const askOften = async (times: number): Promise<void> => {
    for (let turn = 0; turn < times; turn += 1) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other, so that packets are many
      check(`answer ${turn + 1} of ${times}`, (await ask()) === 'backend says hello\n')
    }
  }
  try {
    await browser.open(`https://${origin}/`)
    check('a page', backend.seen.length > 0)
    equal('handshakes', await count('accepted'), 1)
    // Its first message takes two packets, and the edge keeps nothing of either.
    check('Retry', (await count('retries')) >= 1)

    await until('the idle connection ended', async () => (await count('ended')) === 1, 40_000)
    await askOften(1)
    equal('connections', await count('accepted'), 2)
    equal('resumption', await count('resumed'), 1)

    for (let turn = 1; turn <= 3; turn += 1) {
      relay.rebind()
      await askOften(1)
      await until(`rebinding ${turn}`, async () => (await count('migrations')) === turn)
    }
    const seen = relay.clients()
    relay.cut()
    await askOften(1)
    check('the browser went to another port', relay.clients() > seen)
    equal('connections', await count('accepted'), 2)
    await until('its migration', async () => (await count('migrations')) === 4)
    await askOften(4 * packetsPerKey)
    equal('connections', await count('accepted'), 2)
    const events = await browser.close()
    const shown = [...events].filter(([name]) => /MIGRATION|KEY_UPDATE/.test(name))
    console.log(JSON.stringify(Object.fromEntries(shown)))
    check('key updates', (events.get('QUIC_SESSION_KEY_UPDATE') ?? 0) >= 2)
    check("the browser's own migration", (events.get('QUIC_PORT_MIGRATION_SUCCESS') ?? 0) === 1)
  } finally {
    browser.kill()
    relay.close()
    await edge.stop()
    backend.close()
  }
}

const directory = await mkdtemp(join(tmpdir(), 'edge-chromium-'))
try {
  await main(directory)
} finally {
  await rm(directory, { recursive: true, force: true })
}
