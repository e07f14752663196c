/**
 * The WAFs that bench/waf.ts compares, all with the same rule files in front of one origin: nginx
 * with libmodsecurity3, Coraza in a Go reverse proxy, and the edge as it is and in variants.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort, root, startEdge } from '../test/harness/edge.ts'
import { family } from './contenders.ts'

/** One server under test. */
export interface WafContender {
  readonly name: string
  /** URL without a path, by protocol. */
  readonly at: Readonly<Partial<Record<'h1' | 'h2' | 'h3', string>>>
  readonly pid: number
  stop(): void
}

/** What cannot run here, and what to install for it. */
export interface Missing {
  readonly name: string
  readonly mend: string
}

/** Everything that a run starts. */
export interface WafField {
  readonly contenders: readonly WafContender[]
  readonly missing: readonly Missing[]
  stop(): void
}

interface Ground {
  readonly directory: string
  readonly crs: string
  readonly origin: number
}

const module = '/usr/lib/nginx/modules/ngx_http_modsecurity_module.so'
const answer = `<!doctype html><title>ok</title><p>${'text '.repeat(195)}`.padEnd(1_024, '.')

/** The engine settings that ModSecurity recommends, without what only writes files. */
const recommended = `SecRuleEngine On
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\\+|/)|text/)xml" \\
  "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/json" \\
  "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRequestBodyLimit 13107200
SecRequestBodyNoFilesLimit 131072
SecRequestBodyLimitAction Reject
SecRequestBodyJsonDepthLimit 512
SecArgumentsLimit 1000
SecRule REQBODY_ERROR "!@eq 0" "id:200002,phase:2,t:none,log,deny,status:400,severity:2"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" "id:200003,phase:2,t:none,log,deny,status:400"
SecRule TX:/^MSC_/ "!@streq 0" "id:200005,phase:2,t:none,deny"
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html text/xml
SecResponseBodyLimit 524288
SecResponseBodyLimitAction ProcessPartial
SecArgumentSeparator &
SecAuditEngine Off
`
/** What the edge is told beside its own base file: the same bodies are read. */
const ours = `SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html text/xml
SecAuditEngine Off
`
/** Every rule of every level adds to a score that nothing reaches. */
const scoreOnly = `SecAction "id:9900100,phase:1,pass,nolog,t:none,\\
  setvar:tx.blocking_paranoia_level=4,setvar:tx.detection_paranoia_level=4,\\
  setvar:tx.inbound_anomaly_score_threshold=100000,\\
  setvar:tx.outbound_anomaly_score_threshold=100000"
`

/** Starts the origin and the contenders named. */
export async function startWafField(names: readonly string[], crs: string): Promise<WafField> {
  const directory = mkdtempSync(join(tmpdir(), 'edge-bench-waf-'))
  const ground = { directory, crs, origin: await freePort() }
  const missing: Missing[] = []
  const contenders: WafContender[] = []
  const origin = startOrigin(ground)
  const starters: Readonly<Record<string, () => Promise<WafContender | Missing>>> = {
    libmodsecurity3: () => startNginx(ground),
    coraza: () => startCoraza(ground),
    edge: () => startOurs(ground, 'edge', {}),
    'edge memo off': () =>
      startOurs(ground, 'edge memo off', { environment: { EDGE_WAF_MEMO: 'off' } }),
    'edge PL4': () => startOurs(ground, 'edge PL4', { setup: scoreOnly }),
    'edge rules twice': () => startOurs(ground, 'edge rules twice', { rules: twice(ground) }),
    'edge WAF off': () => startOurs(ground, 'edge WAF off', { mode: 'off' }),
  }
  const stop = (): void => {
    for (const contender of contenders) contender.stop()
    origin.kill()
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    for (const name of names) {
      const start = starters[name]
      if (start === undefined) throw new Error(`there is no contender ${name}`)
      const started = await start()
      if ('mend' in started) missing.push(started)
      else contenders.push(started)
    }
  } catch (error) {
    stop()
    throw error
  }
  return { contenders, missing, stop }
}

/** nginx with what goes before and into its `http` block. */
function nginx({ directory }: Ground, name: string, [load, http]: [string, string]): ChildProcess {
  const file = join(directory, `${name}.conf`)
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  const files = `error_log stderr; pid ${directory}/${name}.pid;`
  writeFileSync(
    file,
    `${load} ${user} worker_processes 1; ${files} events {}
     http { access_log off; keepalive_requests 100000000; ${http} }`,
  )
  return spawn('nginx', ['-p', directory, '-c', file, '-g', 'daemon off;'], { stdio: 'ignore' })
}

function startOrigin(ground: Ground): ChildProcess {
  return nginx(ground, 'origin', [
    '',
    `server { listen 127.0.0.1:${ground.origin}; client_max_body_size 0;
       location / { default_type text/html; return 200 "${answer}"; } }`,
  ])
}

/** The peers' main file: settings, setup, rules in the order of their names. */
function peerRules(ground: Ground, name: string, more: string): string {
  const setup = join(ground.crs, 'crs-setup.conf.example')
  const file = join(ground.directory, `${name}.rules`)
  writeFileSync(file, `${recommended}${more}Include ${setup}\nInclude ${ground.crs}/rules/*.conf\n`)
  return file
}

async function startNginx(ground: Ground): Promise<WafContender | Missing> {
  const name = 'libmodsecurity3'
  if (!existsSync(module))
    return { name, mend: 'apt-get install nginx libnginx-mod-http-modsecurity' }
  const http = await freePort()
  const rules = peerRules(
    ground,
    name,
    'SecPcreMatchLimit 100000\nSecPcreMatchLimitRecursion 100000\n',
  )
  const child = nginx(ground, 'modsecurity', [
    `load_module ${module};`,
    `upstream o { server 127.0.0.1:${ground.origin}; keepalive 128;
       keepalive_requests 100000000; }
     modsecurity on; modsecurity_rules_file ${rules};
     server { listen 127.0.0.1:${http}; location / { proxy_pass http://o; proxy_http_version 1.1;
       proxy_set_header Connection ""; proxy_set_header X-Forwarded-For $remote_addr; } }`,
  ])
  return {
    name,
    at: { h1: `http://127.0.0.1:${http}` },
    pid: child.pid ?? 0,
    stop: () => void child.kill(),
  }
}

/** The Go programs of bench/peers; null when there is no Go to build them. */
export function peerProgram(): string | null {
  const sources = join(root, 'bench/peers')
  const directory = join(root, '.cache/bin')
  mkdirSync(directory, { recursive: true })
  const binary = join(directory, 'bench-peers')
  try {
    execFileSync('go', ['build', '-o', binary, '.'], { cwd: sources, stdio: 'inherit' })
    return binary
  } catch {
    return null
  }
}

async function startCoraza(ground: Ground): Promise<WafContender | Missing> {
  const name = 'coraza'
  const program = peerProgram()
  if (program === null) return { name, mend: 'install Go 1.26 with access to its module proxy' }
  const rules = peerRules(ground, name, 'SecRxPreFilter On\n')
  const flags = ['-origin', `http://127.0.0.1:${ground.origin}`, '-rules', rules]
  const child = spawn(program, ['coraza', ...flags], { stdio: ['ignore', 'pipe', 'ignore'] })
  const lines = createInterface({ input: child.stdout })
  const [line]: string[] = await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(() => {
      throw new Error('Coraza did not start')
    }),
  ])
  const { address }: { address: string } = JSON.parse(line ?? '{}')
  const stop = (): void => void child.kill()
  return { name, at: { h1: `http://${address}` }, pid: child.pid ?? 0, stop }
}

interface Variant {
  readonly setup?: string
  readonly rules?: string
  readonly mode?: 'off'
  readonly environment?: Record<string, string>
}

async function startOurs(ground: Ground, name: string, variant: Variant): Promise<WafContender> {
  const file = (kind: string): string =>
    join(ground.directory, `${name.replaceAll(' ', '-')}.${kind}`)
  const limits = { requestsPerConnectionMax: 1e9, connectionsPerAddressMax: 1e6 }
  writeFileSync(file('yaml'), JSON.stringify({ limits, log: { access: false } }))
  writeFileSync(file('setup'), ours + (variant.setup ?? ''))
  const size = ['--workers', '1', '--wire-threads', '1', '--no-redirect']
  const rules = ['--rules', variant.rules ?? ground.crs, '--waf-setup', file('setup')]
  const backend = ['--backend', `http://127.0.0.1:${ground.origin}`]
  const mode = ['--waf', variant.mode ?? 'block']
  const edge = await startEdge({
    arguments: ['--config', file('yaml'), ...backend, ...size, ...mode, ...rules],
    ...(variant.environment === undefined ? {} : { environment: variant.environment }),
  })
  const https = `https://127.0.0.1:${edge.httpsPort}`
  return {
    name,
    at: { h1: `http://127.0.0.1:${edge.httpPort}`, h2: https, h3: https },
    pid: edge.process.pid ?? 0,
    stop: () => void edge.stop(),
  }
}

/** A folder with every rule twice: the second time under another id and behind its own markers. */
function twice(ground: Ground): string {
  const folder = join(ground.directory, 'twice')
  mkdirSync(folder)
  cpSync(join(ground.crs, 'crs-setup.conf.example'), join(folder, 'crs-setup.conf.example'))
  cpSync(join(ground.crs, 'rules'), join(folder, 'rules'), { recursive: true })
  const rules = join(folder, 'rules')
  for (const name of readdirSync(rules).filter((one) => one.endsWith('.conf'))) {
    const text = readFileSync(join(rules, name), 'utf8')
    const again = text
      .replaceAll(/\bid:(9\d{5})\b/g, 'id:7$1')
      .replaceAll(/^(\s*)SecMarker "([^"]*)"/gm, '$1SecMarker "$2-AGAIN"')
      .replaceAll(/skipAfter:([\w-]+)/g, 'skipAfter:$1-AGAIN')
      .replaceAll(/^SecComponentSignature.*$/gm, '')
    writeFileSync(join(rules, name), `${text}\n${again}`, { mode: 0o644, flag: 'w' })
  }
  return folder
}

/** CPU time of a contender's processes so far, in microseconds. */
export function cpuMicroseconds(contender: WafContender): number {
  let nanoseconds = 0
  for (const pid of family(contender.pid)) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8')
      nanoseconds += Number(stat.split(' ')[0])
    }
  }
  return nanoseconds / 1_000
}
