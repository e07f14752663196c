/**
 * What does one request in flight wait longer for, through the proxy and its WAF, than directly?
 *
 *   node bench/added-latency.ts [--requests 5000] [--rounds 5]
 *
 * One kept-alive HTTP/1.1 connection to an nginx that answers 1 KiB, directly and through the edge
 * (CRS at PL1, WAF off), interleaved; medians of the rounds' medians. The goal is 250 µs with the
 * WAF.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { request, Agent } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { root, startEdge } from '../test/harness/edge.ts'

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '5000' },
    rounds: { type: 'string', default: '5' },
  },
})
const origin = 18_090
const headers = {
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36',
  accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  'accept-language': 'en-GB,en;q=0.9',
  cookie: 'sid=0123456789abcdef0123456789abcdef; theme=dark',
  host: 'localhost',
}

function startOrigin(): ReturnType<typeof spawn> {
  const directory = mkdtempSync(join(tmpdir(), 'edge-latency-'))
  const file = join(directory, 'nginx.conf')
  writeFileSync(
    file,
    `worker_processes 1; error_log stderr; pid ${directory}/pid; events {}
     http { access_log off; keepalive_requests 100000000; server { listen 127.0.0.1:${origin};
       location / { default_type text/plain; return 200 "${'x'.repeat(1_024)}"; } } }`,
  )
  return spawn('nginx', ['-p', directory, '-c', file, '-g', 'daemon off;'], { stdio: 'ignore' })
}

/** Microseconds until the whole answer is here. */
function once(port: number, agent: Agent): Promise<number> {
  const began = process.hrtime.bigint()
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path: '/shop?page=2&q=tea', agent, headers }, (answer) => {
      let bytes = 0
      answer.on('data', (chunk: Buffer) => (bytes += chunk.length))
      answer.on('end', () => {
        if (answer.statusCode !== 200 || bytes !== 1_024) reject(new Error('answers differ'))
        resolve(Number(process.hrtime.bigint() - began) / 1_000)
      })
    })
      .on('error', reject)
      .end()
  })
}

const median = (numbers: readonly number[]) =>
  numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0

async function round(port: number, count: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const times: number[] = []
  for (let index = 0; index < count; index += 1) times.push(await once(port, agent))
  agent.destroy()
  return median(times)
}

const nginx = startOrigin()
const size = ['--backend', `http://127.0.0.1:${origin}`, '--no-redirect', '--workers', '1']
const waf = await startEdge({ arguments: [...size, '--rules', join(root, '../shared/crs')] })
const plain = await startEdge({ arguments: [...size, '--waf', 'off'] })
await sleep(500)
try {
  const ways = { direct: origin, 'WAF off': plain.httpPort, 'WAF, CRS PL1': waf.httpPort }
  for (const port of Object.values(ways)) await round(port, 1_000)
  const figures = new Map(Object.keys(ways).map((name) => [name, [] as number[]]))
  for (let index = 0; index < Number(values.rounds); index += 1)
    for (const [name, port] of Object.entries(ways))
      figures.get(name)?.push(await round(port, Number(values.requests)))
  const direct = median(figures.get('direct') ?? [])
  for (const [name, list] of figures) {
    const rounds = list.map((one) => one.toFixed(0)).join(' ')
    const added = (median(list) - direct).toFixed(0)
    const middle = median(list).toFixed(0)
    console.log(`${name.padEnd(13)} median ${middle} µs, added ${added} µs  (rounds: ${rounds})`)
  }
} finally {
  await Promise.all([waf.stop(), plain.stop()])
  nginx.kill()
}
