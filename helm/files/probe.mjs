// `helm test`: asks a release from inside the cluster, over every protocol.
// HOST, HTTP_PORT, HTTPS_PORT: where it listens; BLOCKS: whether the WAF blocks.
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
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

/**
 * The versions that a QUIC server offers to a client of a version that does not exist (RFC 9000
 * §6.1): Node has no QUIC client, and this is what shows that UDP reaches the proxy.
 */
function quicVersions() {
  const [ours, theirs] = [randomBytes(8), randomBytes(8)]
  const packet = Buffer.alloc(1200)
  Buffer.from([0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, ...theirs, 8, ...ours]).copy(packet)
  const socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4')
  return new Promise((resolve, reject) => {
    const send = () => socket.send(packet, Number(httpsPort), host)
    const again = setInterval(send, 1_000)
    const end = setTimeout(() => reject(new Error('nothing comes over UDP')), timeoutMs)
    socket.on('error', reject)
    socket.on('message', (answer) => {
      const isOurs = answer.length > 23 && answer.subarray(6, 14).equals(ours)
      if (!isOurs || answer.readUInt32BE(1) !== 0) return
      clearInterval(again)
      clearTimeout(end)
      const list = answer.subarray(23)
      resolve(Array.from({ length: list.length / 4 }, (_, at) => list.readUInt32BE(4 * at)))
    })
    send()
  }).finally(() => socket.close())
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
await check('QUIC answers over UDP', async () => {
  const versions = await quicVersions()
  if (!versions.includes(1)) throw new Error(`without version 1: ${versions}`)
  return `version 1 of ${versions.length}`
})
if (blocks === 'true') {
  const secure = () => h1(askSecure, httpsPort, attack)
  await check('an attack over HTTP/1.1', async () => answered(await secure(), 403))
  await check('an attack over HTTP/2', async () => answered(await h2(attack), 403))
}
process.exitCode = failed === 0 ? 0 : 1
