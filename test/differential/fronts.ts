/** Both engines behind their real servers: nginx with its ModSecurity module, and our proxy. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { h1Transport, type Transport } from '../../proxy/regression/transports.ts'
import { startBackend } from '../harness/backend.ts'
import { freePort, startEdge } from '../harness/edge.ts'
import { OracleMissing } from '../oracle/oracle.ts'
import { matchesOf } from './engines.ts'
import type { Contender, RuleFiles } from './engines.ts'
import type { PlainRequest } from './request.ts'

const nginxModule = '/usr/lib/nginx/modules/ngx_http_modsecurity_module.so'

/** Throws `OracleMissing` when nginx or its module is not there. */
export async function openFronts(
  rules: RuleFiles,
  crs: string,
): Promise<{ engines: readonly [Contender, Contender]; close(): Promise<void> }> {
  if (!existsSync(nginxModule)) {
    throw new OracleMissing('sockets not run: install nginx and libnginx-mod-http-modsecurity')
  }
  const backend = await startBackend()
  const flags = ['--backend', backend.url, '--no-redirect', '--waf', 'detect', '--rules', crs]
  const edge = await startEdge({ arguments: [...flags, '--waf-setup', rules.setup] })
  const nginx = await startNginx(rules, backend.url)
  const engines = [
    new Front(edge.httpPort, edge.wafLog, () => edge.stop()),
    new Front(nginx.port, nginx.log, () => nginx.stop()),
  ] as const
  return {
    engines,
    close: async () => {
      await Promise.all(engines.map((engine) => engine.close()))
      backend.close()
    },
  }
}

/** Nginx as open as it can be: it hands on what it does not have to understand. */
async function startNginx(rules: RuleFiles, origin: string) {
  const port = await freePort()
  const log = join(rules.directory, 'nginx.log')
  const file = join(rules.directory, 'nginx.conf')
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  writeFileSync(
    file,
    `load_module ${nginxModule}; ${user} worker_processes 1; pid ${rules.directory}/nginx.pid;
error_log ${log} info; events {}
http { access_log off; underscores_in_headers on; ignore_invalid_headers off;
  large_client_header_buffers 8 32k; client_max_body_size 0; client_body_buffer_size 1m;
  modsecurity on; modsecurity_rules_file ${rules.all};
  server { listen 127.0.0.1:${port}; location / { proxy_pass ${origin}; } } }`,
  )
  const flags = ['-p', rules.directory, '-c', file, '-g', 'daemon off;']
  const child = spawn('nginx', flags, { stdio: 'ignore' })
  await listening(port)
  const stop = async (): Promise<void> => {
    child.kill()
    if (child.exitCode === null) await once(child, 'exit')
  }
  return { port, log, stop }
}

async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt += 1) {
    const socket = connect(port, '127.0.0.1')
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    if (open) return
    await sleep(100)
  }
  throw new Error('nginx did not start')
}

/** One server and its log; one request at a time, so that the log's new lines are its own. */
class Front implements Contender {
  readonly #way: Transport
  readonly #stop: () => Promise<unknown>
  readonly #log: string
  #read = 0

  constructor(port: number, log: string, stop: () => Promise<unknown>) {
    this.#way = h1Transport({ host: '127.0.0.1', port, tls: false })
    this.#log = log
    this.#stop = stop
  }

  async ask(request: PlainRequest) {
    this.#newLines()
    const status = await this.#way.send({ ...nothing, raw: onTheWire(request) })
    const matches = matchesOf(this.#newLines())
    // A server that does not understand a request refuses it before any rule.
    return matches.size === 0 && (status === 400 || status === 0) ? 'refused' : matches
  }

  async close(): Promise<void> {
    this.#way.close()
    await this.#stop()
  }

  #newLines(): string[] {
    if (!existsSync(this.#log)) return []
    const file = openSync(this.#log, 'r')
    const pieces: Buffer[] = []
    for (;;) {
      const piece = Buffer.alloc(64 * 1024)
      const length = readSync(file, piece, 0, piece.length, this.#read)
      if (length === 0) break
      this.#read += length
      pieces.push(piece.subarray(0, length))
    }
    closeSync(file)
    return Buffer.concat(pieces).toString('latin1').split('\n')
  }
}

const nothing = {
  method: '',
  uri: '',
  version: '',
  headers: [],
  data: '',
  autocompleteHeaders: false,
}

function onTheWire({ method, target, headers, body }: PlainRequest): Buffer {
  const fields = [...headers, ['Connection', 'close']].map((pair) => pair.join(': '))
  const head = [`${method} ${target} HTTP/1.1`, ...fields, '', ''].join('\r\n')
  return Buffer.concat([Buffer.from(head, 'latin1'), body ?? Buffer.alloc(0)])
}
