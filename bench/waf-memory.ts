/**
 * What the program holds: at rest, under a mix of attacks and benign requests, with many workers,
 * and with many routes that are tuned differently. Goals: rules of PL4 at most 60 MiB, the whole
 * program under load at most 200 MiB, 50 tuned routes a few MiB more than one.
 *
 *   node scripts/pinned.mjs bench/waf-memory.ts [SECONDS]
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request, Agent } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { crsDirectory, startEdge } from '../test/harness/edge.ts'
import type { RunningEdge } from '../test/harness/edge.ts'

const seconds = Number(process.argv[2] ?? 5)
const connections = 16
const mib = 1024

interface Scenario {
  readonly name: string
  readonly workers: number
  /** YAML of `waf:` and `routes:`. */
  readonly config: (rules: string) => string
}

/** MiB, proportional set size. */
interface Figures {
  readonly rest: number
  readonly peak: number
  readonly after: number
  readonly requests: number
}

const plain = (extra: string) => (rules: string) =>
  `waf: {rules: "${rules}", ${extra}}\nroutes: [{name: r, path: /, upstream: u}]\n`

function tuned(routes: number): (rules: string) => string {
  const lines = Array.from({ length: routes }, (_, index) => {
    const exclusions = [
      `{rules: [942100], targets: ["ARGS:field${index}"]}`,
      `{rules: ["9421${10 + index}-942${200 + index}"]}`,
      `{tags: [attack-xss], paths: ["/r${index}/edit"]}`,
    ]
    const waf = `waf: {exclusions: [${exclusions.join(', ')}]}`
    return `  - {name: r${index}, path: /r${index}, upstream: u, ${waf}}`
  })
  return (rules) => `waf: {rules: "${rules}", paranoia: 1}\nroutes:\n${lines.join('\n')}\n`
}

const scenarios: readonly Scenario[] = [
  { name: 'no CRS', workers: 2, config: (rules) => plain('mode: "block", setupFiles: []')(rules) },
  { name: 'CRS PL1', workers: 2, config: plain('paranoia: 1') },
  { name: 'CRS PL4', workers: 2, config: plain('paranoia: 4') },
  { name: 'CRS PL4, 8 workers', workers: 8, config: plain('paranoia: 4') },
  { name: 'CRS PL1, 1 tuned route', workers: 2, config: tuned(1) },
  { name: 'CRS PL1, 50 tuned routes', workers: 2, config: tuned(50) },
]

/** Bodies and targets; the number makes each one new to every memo. */
function mixed(index: number): { path: string; type: string | null; body: string } {
  const route = `/r${index % 50}`
  const kinds = [
    { path: `${route}/list?page=${index}&sort=name`, type: null, body: '' },
    { path: `${route}?q=1%27%20OR%20${index}%3D${index}--`, type: null, body: '' },
    { path: `${route}?q=%3Cscript%3Ealert(${index})%3C/script%3E`, type: null, body: '' },
    {
      path: `${route}/form`,
      type: 'application/x-www-form-urlencoded',
      body: Array.from({ length: 12 }, (_, n) => `field${n}=${'plain words '.repeat(12)}${index}`)
        .join('&')
        .replaceAll(' ', '+'),
    },
    {
      path: `${route}/json`,
      type: 'application/json',
      body: JSON.stringify(
        Array.from({ length: 120 }, (_, n) => ({ id: n + index, name: `item ${n} of ${index}` })),
      ),
    },
  ] as const
  return kinds[index % kinds.length] ?? kinds[0]
}

async function main(): Promise<void> {
  const rules = crsDirectory()
  if (rules === null) {
    console.error('NOT RUN: no rule set at EDGE_CRS_DIR or ../shared/crs')
    process.exitCode = 1
    return
  }
  const backend = createServer((incoming, answer) => {
    incoming.resume().on('end', () => answer.end('ok'))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => backend.once('listening', resolve))
  const { port } = backend.address() as AddressInfo
  const figures = new Map<string, Figures>()
  for (const scenario of scenarios) {
    // One after the other: they would share nothing but the machine.
    // oxlint-disable-next-line no-await-in-loop
    const found = await measure(scenario, rules, port)
    figures.set(scenario.name, found)
    const shown = [found.rest, found.peak, found.after].map((value) => value.toFixed(1))
    console.log(
      `${scenario.name.padEnd(26)} rest ${shown[0]}  peak ${shown[1]}  after ${shown[2]} MiB`,
    )
  }
  backend.close()
  report(figures)
}

function report(figures: ReadonlyMap<string, Figures>): void {
  const of = (name: string): Figures =>
    figures.get(name) ?? { rest: NaN, peak: NaN, after: NaN, requests: 0 }
  const goals = [
    ['rules of PL4, at rest', of('CRS PL4').rest - of('no CRS').rest, 60],
    ['the program under load, PL4', of('CRS PL4').peak, 200],
    [
      '49 more tuned routes, under load',
      of('CRS PL1, 50 tuned routes').peak - of('CRS PL1, 1 tuned route').peak,
      8,
    ],
  ] as const
  for (const [name, value, goal] of goals) {
    console.log(
      `${value <= goal ? 'reached' : 'MISSED '} ${name}: ${value.toFixed(1)} MiB (goal ${goal})`,
    )
  }
}

async function measure(
  { workers, name, config }: Scenario,
  rules: string,
  port: number,
): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'edge-memory-'))
  const file = join(folder, 'edge.yaml')
  const upstreams = `upstreams: [{name: u, endpoints: [{url: "http://127.0.0.1:${port}"}]}]\n`
  const text = name === 'no CRS' ? 'routes: [{name: r, path: /, upstream: u}]\n' : config(rules)
  writeFileSync(file, `${upstreams}${text}log: {access: false}\n`)
  const flags = [
    '--config',
    file,
    '--workers',
    `${workers}`,
    '--wire-threads',
    '2',
    '--no-redirect',
  ]
  const edge = await startEdge({ arguments: flags, readyTimeoutMs: 60_000 })
  try {
    await sleep(1_500)
    const rest = proportionalMib(edge)
    const loading = load(edge.httpPort)
    let peak = rest
    const end = Date.now() + seconds * 1_000
    while (Date.now() < end) {
      // oxlint-disable-next-line no-await-in-loop
      await sleep(250)
      peak = Math.max(peak, proportionalMib(edge))
    }
    const requests = await loading.stop()
    await sleep(1_000)
    return { rest, peak, after: proportionalMib(edge), requests }
  } finally {
    await edge.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

function load(port: number): { stop: () => Promise<number> } {
  let running = true
  let count = 0
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const loop = async (): Promise<void> => {
    while (running) {
      count += 1
      // oxlint-disable-next-line no-await-in-loop
      await send(agent, port, mixed(count))
    }
  }
  const loops = Array.from({ length: connections }, loop)
  return {
    async stop() {
      running = false
      await Promise.all(loops)
      agent.destroy()
      return count
    },
  }
}

function send(
  agent: Agent,
  port: number,
  { path, type, body }: ReturnType<typeof mixed>,
): Promise<void> {
  const headers = {
    'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/150.0',
    accept: 'text/html,application/json',
    cookie: `session=${path.length}abcdef; theme=dark`,
    ...(type === null ? {} : { 'content-type': type }),
  }
  const method = type === null ? 'GET' : 'POST'
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, agent, path, method, headers }, (answer) => {
      answer.resume().on('end', resolve).on('error', reject)
    })
    sent.on('error', reject).end(body)
  })
}

function proportionalMib({ process: child }: RunningEdge): number {
  const text = readFileSync(`/proc/${child.pid}/smaps_rollup`, 'utf8')
  return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? NaN) / mib
}

await main()
