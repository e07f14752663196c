/**
 * What does proxying one 1 KiB answer cost in server CPU, beside nginx and Caddy, on h1, TLS, h2
 * and h3?
 *
 *   node bench/proxy-cost.ts [--requests 20000] [--rounds 3]
 *
 * Needs on PATH: hload (built from ../shared/tools/hload), nginx, caddy. Contenders answer one
 * request each
 * and the bodies must be equal before anything is timed; rounds are interleaved; the median is
 * reported.
 * CPU time of the server's processes is the figure: machines are shared and wall time lies.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { root, startEdge } from '../test/harness/edge.ts'

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '3' },
  },
})
const directory = mkdtempSync(join(tmpdir(), 'edge-bench-'))
const origin = 18_080
const tlsFiles = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') }

/** One server under test: where it listens and which processes to account. */
interface Contender {
  readonly name: string
  readonly http: number
  readonly https: number
  readonly protocols: readonly string[]
  readonly pid: number
  stop(): void
}

function makeCertificate(): void {
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const out = ['-keyout', tlsFiles.key, '-out', tlsFiles.cert]
  execFileSync('openssl', ['req', '-x509', ...key, ...subject, '-days', '2', ...out], {
    stdio: 'ignore',
  })
}

function nginx(name: string, config: string): ChildProcess {
  const file = join(directory, `${name}.conf`)
  writeFileSync(file, config)
  return spawn('nginx', ['-p', directory, '-c', file, '-g', 'daemon off;'], { stdio: 'ignore' })
}

function startOrigin(): ChildProcess {
  const body = 'x'.repeat(1_024)
  return nginx(
    'origin',
    `worker_processes 1; error_log stderr; pid ${directory}/origin.pid; events {}
     http { access_log off; keepalive_requests 100000000;
       server { listen 127.0.0.1:${origin} reuseport;
         location / { default_type text/plain; return 200 "${body}"; } } }`,
  )
}

function startNginx(): Contender {
  const child = nginx(
    'proxy',
    `worker_processes 1; error_log stderr; pid ${directory}/proxy.pid; events {}
     http { access_log off; keepalive_requests 100000000;
       upstream o { server 127.0.0.1:${origin}; keepalive 128; keepalive_requests 100000000; }
       server { listen 127.0.0.1:18081; listen 127.0.0.1:18444 ssl http2;
         ssl_certificate ${tlsFiles.cert}; ssl_certificate_key ${tlsFiles.key};
         location / { proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection "";
           proxy_set_header X-Forwarded-For $remote_addr; } } }`,
  )
  const protocols = ['h1', 'h1s', 'h2']
  return {
    name: 'nginx',
    http: 18_081,
    https: 18_444,
    protocols,
    pid: child.pid ?? 0,
    stop: () => child.kill(),
  }
}

function startCaddy(): Contender {
  const file = join(directory, 'Caddyfile')
  const site = `reverse_proxy 127.0.0.1:${origin}`
  writeFileSync(
    file,
    `{\n admin off\n auto_https off\n}\nhttp://127.0.0.1:18082 {\n ${site}\n}\n` +
      `https://localhost:18445, https://127.0.0.1:18445 {\n` +
      ` tls ${tlsFiles.cert} ${tlsFiles.key}\n ${site}\n}\n`,
  )
  const child = spawn('caddy', ['run', '--config', file], { stdio: 'ignore' })
  const protocols = ['h1', 'h1s', 'h2', 'h3']
  return {
    name: 'caddy',
    http: 18_082,
    https: 18_445,
    protocols,
    pid: child.pid ?? 0,
    stop: () => child.kill(),
  }
}

async function startOurs(name: string, ...flags: string[]): Promise<Contender> {
  const tls = ['--cert', tlsFiles.cert, '--key', tlsFiles.key]
  const size = ['--workers', '1', '--wire-threads', '1', '--no-redirect']
  const backend = ['--backend', `http://127.0.0.1:${origin}`]
  // As for the others: a new connection every 1000 requests would be part of the figure.
  const config = join(directory, 'edge.yaml')
  writeFileSync(config, 'limits: { requestsPerConnectionMax: 1000000000 }\n')
  const flagsOfAll = ['--config', config, ...backend, ...tls, ...size]
  const edge = await startEdge({ arguments: [...flagsOfAll, ...flags] })
  const protocols = ['h1', 'h1s', 'h2', 'h3']
  const stop = () => void edge.stop()
  return {
    name,
    http: edge.httpPort,
    https: edge.httpsPort,
    protocols,
    pid: edge.process.pid ?? 0,
    stop,
  }
}

/** The process and its children: nginx works in a child. */
function family(pid: number): number[] {
  const parents = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const children = parents.filter((name) => {
    try {
      return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, 'utf8'))?.[1]) === pid
    } catch {
      return false // ended while we looked
    }
  })
  return [pid, ...children.flatMap((child) => family(Number(child)))]
}

function urlOf(contender: Contender, protocol: string): string {
  if (protocol === 'h1') return `http://127.0.0.1:${contender.http}/page?id=42`
  return `https://127.0.0.1:${contender.https}/page?id=42`
}

/** One measured run: microseconds of server CPU per request. */
function measure(contender: Contender, protocol: string): number {
  const load = protocol.startsWith('h1') ? ['-c', '1', '-m', '64'] : ['-c', '4', '-m', '16']
  const text = execFileSync(
    'hload',
    [
      '-p',
      protocol,
      '-u',
      urlOf(contender, protocol),
      '-n',
      values.requests,
      ...load,
      '-pid',
      family(contender.pid).join(','),
      '-l',
      contender.name,
    ],
    { encoding: 'utf8' },
  )
  const found = /err=(\d+).*srvCPU ([\d.]+) us/.exec(text)
  if (!found || found[1] !== '0') throw new Error(`${contender.name} ${protocol}: ${text}`)
  return Number(found[2])
}

function proveEqual(contenders: readonly Contender[]): void {
  const bodies = contenders.flatMap((contender) =>
    contender.protocols
      .filter((protocol) => protocol !== 'h3') // hload checks the status of h3; curl here has no h3
      .map((protocol) =>
        execFileSync(
          'curl',
          ['-sk', protocol === 'h2' ? '--http2' : '--http1.1', urlOf(contender, protocol)],
          {
            encoding: 'utf8',
          },
        ),
      ),
  )
  if (new Set(bodies).size !== 1 || bodies[0]?.length !== 1_024) throw new Error('answers differ')
}

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0

makeCertificate()
const originProcess = startOrigin()
const crs = join(root, '../shared/crs')
const contenders = [
  startNginx(),
  startCaddy(),
  await startOurs('edge', '--waf', 'off'),
  await startOurs('edge+CRS', '--rules', crs),
]
await sleep(1_500)
try {
  proveEqual(contenders)
  for (const protocol of ['h1', 'h1s', 'h2', 'h3']) {
    const racers = contenders.filter((contender) => contender.protocols.includes(protocol))
    const figures = new Map(racers.map((racer) => [racer, [] as number[]]))
    for (let round = 0; round < Number(values.rounds); round += 1)
      for (const racer of racers) figures.get(racer)?.push(measure(racer, protocol))
    for (const [racer, list] of figures)
      console.log(
        `${protocol.padEnd(4)} ${racer.name.padEnd(9)} ${median(list).toFixed(1)} µs/request` +
          `  (${Math.min(...list).toFixed(1)}–${Math.max(...list).toFixed(1)})`,
      )
  }
} finally {
  for (const contender of contenders) contender.stop()
  originProcess.kill()
}
