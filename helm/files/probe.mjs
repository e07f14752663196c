// `helm test`: asks a release from inside the cluster, over every protocol.
// HOST, HTTP_PORT, HTTPS_PORT: where it listens; BLOCKS: whether the WAF blocks.
import { execFile } from 'node:child_process'
import { request as askClear } from 'node:http'
import { connect as connectH2 } from 'node:http2'
import { request as askSecure } from 'node:https'
import { isIP } from 'node:net'

const { HOST: host = '', HTTP_PORT: httpPort, HTTPS_PORT: httpsPort, BLOCKS: blocks } = process.env
const attack = "/?id=1'%20OR%20'1'='1"
const timeoutMs = 10_000
const headers = { 'user-agent': 'helm-test', accept: '*/*' }

/** GET over HTTP/1.1, in clear or not. */
function h1(ask, port, path) {
  return new Promise((resolve, reject) => {
    // Who the certificate is for is nobody's business here: it may be a self-signed one.
    const options = { host, port, path, headers, rejectUnauthorized: false, timeout: timeoutMs }
    const sent = ask(options, (response) => {
      let body = ''
      response.on('data', (piece) => (body += piece))
      response.on('end', () =>
        resolve({ status: response.statusCode, fields: response.headers, body }),
      )
    })
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')))
    sent.on('error', reject)
    sent.end()
  })
}

/** GET over HTTP/2. */
function h2(path) {
  const authority = isIP(host) === 6 ? `[${host}]` : host
  const session = connectH2(`https://${authority}:${httpsPort}`, { rejectUnauthorized: false })
  return new Promise((resolve, reject) => {
    session.on('error', reject)
    session.setTimeout(timeoutMs, () => reject(new Error('no answer in time')))
    const stream = session.request({ ':path': path, ...headers })
    let fields = {}
    stream.on('response', (given) => (fields = given))
    stream.on('error', reject)
    stream.on('end', () => resolve({ status: fields[':status'], fields }))
    stream.resume()
  }).finally(() => session.destroy())
}

/** GET over HTTP/3: Node has no QUIC client, the program has. */
function h3(path) {
  const authority = isIP(host) === 6 ? `[${host}]` : host
  const url = `https://${authority}:${httpsPort}${path}`
  return new Promise((resolve, reject) => {
    execFile('edge', ['health', '--h3', url], { timeout: 2 * timeoutMs }, (_, out, said) => {
      const status = /^HTTP\/3 (\d+)$/m.exec(out)?.[1]
      if (status === undefined) reject(new Error(said.trim() || 'no answer in time'))
      else resolve({ status: Number(status), fields: {} })
    })
  })
}

let failed = 0

async function check(name, run) {
  try {
    console.log(`ok   ${name}: ${await run()}`)
  } catch (error) {
    failed += 1
    console.log(`FAIL ${name}: ${error.message}`)
  }
}

/** Any status is an answer: the backend of a new release may not be there yet. */
function answered({ status }, wanted = status) {
  if (status === undefined || status !== wanted) throw new Error(`status ${status}`)
  return `status ${status}`
}

await check('/_gwhealthz', async () => answered(await h1(askClear, httpPort, '/_gwhealthz'), 200))
await check('HTTP/1.1 over TLS', async () => answered(await h1(askSecure, httpsPort, '/')))
await check('HTTP/2', async () => answered(await h2('/')))
await check('Alt-Svc announces HTTP/3', async () => {
  const { fields } = await h2('/')
  const text = fields['alt-svc'] ?? ''
  if (!text.includes(`h3=":${httpsPort}"`)) throw new Error(`it says "${text}"`)
  return text
})
await check('HTTP/3', async () => answered(await h3('/')))
if (blocks === 'true') {
  const secure = () => h1(askSecure, httpsPort, attack)
  await check('an attack over HTTP/1.1', async () => answered(await secure(), 403))
  await check('an attack over HTTP/2', async () => answered(await h2(attack), 403))
  await check('an attack over HTTP/3', async () => answered(await h3(attack), 403))
}
process.exitCode = failed === 0 ? 0 : 1
