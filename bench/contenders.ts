/**
 * The servers that benchmarks compare, all in front of one origin: nginx, Caddy, and the edge with
 * the WAF off and with the CRS. None of them writes an access log unless it is asked to.
 */
import { execFile, execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort, root, startEdge } from '../test/harness/edge.ts'

/** The protocols by hload's names: `h1s` is HTTP/1.1 over TLS. */
export type Protocol = 'h1' | 'h1s' | 'h2' | 'h3'

/** One server under test: where it listens and which processes to account. */
export interface Contender {
  readonly name: string
  readonly http: number
  readonly https: number
  readonly protocols: readonly Protocol[]
  readonly pid: number
  stop(): void
}

/** What the origin answers, by path. */
export const paths = { small: '/page?id=42', bulk: '/bulk' } as const
/** Bytes of the answer to `small` and `bulk`. */
export const sizes = { small: 1_024, bulk: 10 * 1024 ** 2 } as const

const everyProtocol: readonly Protocol[] = ['h1', 'h1s', 'h2', 'h3']

interface Ground {
  readonly directory: string
  readonly certificate: string
  readonly key: string
  readonly origin: number
}

/** Of the load client and the contenders named, those that this machine does not have on PATH. */
export function missingPrograms(names: readonly string[]): readonly string[] {
  const needed = ['hload', ...names.filter((name) => name === 'nginx' || name === 'caddy')]
  return needed.filter((name) => spawnSync(name, ['--help'], { stdio: 'ignore' }).error)
}

/** Contenders by name, started in order, and the origin behind them. */
export interface Field {
  readonly contenders: readonly Contender[]
  stop(): void
}

/** Starts the origin and the contenders named. `accessLog`: the edge writes its lines as well. */
export async function startField(names: readonly string[], accessLog: boolean): Promise<Field> {
  const directory = mkdtempSync(join(tmpdir(), 'edge-bench-'))
  const certificate = join(directory, 'cert.pem')
  const key = join(directory, 'key.pem')
  makeCertificate(certificate, key)
  const ground = { directory, certificate, key, origin: await freePort() }
  const stopOrigin = await startOrigin(ground)
  const starters: Readonly<Record<string, () => Promise<Contender>>> = {
    nginx: () => startNginx(ground),
    caddy: () => startCaddy(ground),
    edge: () => startOurs(ground, 'edge', accessLog, ['--waf', 'off']),
    'edge+CRS': () =>
      startOurs(ground, 'edge+CRS', accessLog, ['--rules', join(root, '../shared/crs')]),
  }
  const contenders: Contender[] = []
  for (const name of names) {
    const start = starters[name]
    if (start === undefined) throw new Error(`there is no contender ${name}`)
    contenders.push(await start())
  }
  await sleep(1_000)
  return {
    contenders,
    stop: () => {
      for (const contender of contenders) contender.stop()
      stopOrigin()
    },
  }
}

function makeCertificate(certificate: string, key: string): void {
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const algorithm = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const out = ['-keyout', key, '-out', certificate, '-days', '2']
  execFileSync('openssl', ['req', '-x509', ...algorithm, ...subject, ...out], { stdio: 'ignore' })
}

function nginx({ directory }: Ground, name: string, config: string): ChildProcess {
  const file = join(directory, `${name}.conf`)
  // Started as root, its workers would be nobody, who cannot read the files of the bulk figure.
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  const main = `${user} worker_processes 1; error_log stderr; pid ${directory}/${name}.pid;`
  writeFileSync(
    file,
    `${main} events {}\nhttp { access_log off; keepalive_requests 100000000; ${config} }`,
  )
  return spawn('nginx', ['-p', directory, '-c', file, '-g', 'daemon off;'], { stdio: 'ignore' })
}

/**
 * nginx where it is installed; else this process, which is dearer but not accounted, and must not
 * be blocked while somebody waits for its answer.
 */
async function startOrigin(ground: Ground): Promise<() => void> {
  const { directory, origin } = ground
  const small = 'x'.repeat(sizes.small)
  if (spawnSync('nginx', ['-v']).status === 0) {
    mkdirSync(join(directory, 'files'))
    writeFileSync(join(directory, 'files/bulk'), Buffer.alloc(sizes.bulk, 'x'))
    const child = nginx(
      ground,
      'origin',
      `sendfile on; server { listen 127.0.0.1:${origin} reuseport;
         location = /bulk { root ${directory}/files; default_type text/plain; }
         location / { default_type text/plain; return 200 "${small}"; } }`,
    )
    return () => void child.kill()
  }
  const bulk = Buffer.alloc(sizes.bulk, 'x')
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    response.setHeader('content-type', 'text/plain')
    response.end(request.url === paths.bulk ? bulk : small)
  })
  await new Promise<void>((resolve) => {
    server.listen(origin, '127.0.0.1', resolve)
  })
  return () => {
    server.close()
    server.closeAllConnections()
  }
}

async function startNginx(ground: Ground): Promise<Contender> {
  const [http, https] = [await freePort(), await freePort()]
  const child = nginx(
    ground,
    'proxy',
    `upstream o { server 127.0.0.1:${ground.origin}; keepalive 128; keepalive_requests 100000000; }
     server { listen 127.0.0.1:${http}; listen 127.0.0.1:${https} ssl http2;
       ssl_certificate ${ground.certificate}; ssl_certificate_key ${ground.key};
       location / { proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection "";
         proxy_buffering off; proxy_set_header X-Forwarded-For $remote_addr; } }`,
  )
  const protocols: readonly Protocol[] = ['h1', 'h1s', 'h2']
  const pid = child.pid ?? 0
  return { name: 'nginx', http, https, protocols, pid, stop: () => void child.kill() }
}

async function startCaddy(ground: Ground): Promise<Contender> {
  const [http, https] = [await freePort(), await freePort()]
  const file = join(ground.directory, 'Caddyfile')
  const site = `reverse_proxy 127.0.0.1:${ground.origin}`
  writeFileSync(
    file,
    `{\n admin off\n auto_https off\n}\nhttp://127.0.0.1:${http} {\n ${site}\n}\n` +
      `https://localhost:${https}, https://127.0.0.1:${https} {\n` +
      ` tls ${ground.certificate} ${ground.key}\n ${site}\n}\n`,
  )
  const child = spawn('caddy', ['run', '--config', file], { stdio: 'ignore' })
  const pid = child.pid ?? 0
  return {
    name: 'caddy',
    http,
    https,
    protocols: everyProtocol,
    pid,
    stop: () => void child.kill(),
  }
}

async function startOurs(
  ground: Ground,
  name: string,
  accessLog: boolean,
  flags: readonly string[],
): Promise<Contender> {
  // As for the others: no new connection every 1000 requests, and all clients are one address.
  const limits = { requestsPerConnectionMax: 1e9, connectionsPerAddressMax: 1e6 }
  const config = join(ground.directory, 'edge.yaml')
  writeFileSync(config, JSON.stringify({ limits, log: { access: accessLog } }))
  const tls = ['--cert', ground.certificate, '--key', ground.key]
  const size = ['--workers', '1', '--wire-threads', '1', '--no-redirect']
  const backend = ['--backend', `http://127.0.0.1:${ground.origin}`]
  const edge = await startEdge({
    arguments: ['--config', config, ...backend, ...tls, ...size, ...flags],
  })
  return {
    name,
    http: edge.httpPort,
    https: edge.httpsPort,
    protocols: everyProtocol,
    pid: edge.process.pid ?? 0,
    stop: () => void edge.stop(),
  }
}

/** Where a contender answers `path` over `protocol`. */
export function urlOf(contender: Contender, protocol: Protocol, path: string): string {
  if (protocol === 'h1') return `http://127.0.0.1:${contender.http}${path}`
  return `https://127.0.0.1:${contender.https}${path}`
}

/** The process and its children: nginx works in a child. */
export function family(pid: number): number[] {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const children = all.filter((name) => {
    try {
      return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, 'utf8'))?.[1]) === pid
    } catch {
      return false // ended while we looked
    }
  })
  return [pid, ...children.flatMap((child) => family(Number(child)))]
}

/** Fails unless all contenders answer `path` alike. hload checks the status of h3: curl cannot. */
export async function proveEqual(
  contenders: readonly Contender[],
  path: string,
  bytes: number,
): Promise<void> {
  for (const contender of contenders) {
    for (const protocol of contender.protocols) {
      if (protocol === 'h3') continue
      const version = protocol === 'h2' ? '--http2' : '--http1.1'
      const ask = ['-sk', '--max-time', '60', version, urlOf(contender, protocol, path)]
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const { stdout: body } = await promisify(execFile)('curl', ask, {
        encoding: 'buffer',
        maxBuffer: 2 * sizes.bulk,
      })
      if (body.length !== bytes || body.some((byte) => byte !== 0x78))
        throw new Error(`${contender.name} answers something else over ${protocol}`)
    }
  }
}
