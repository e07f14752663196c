/** Asks `edge explain` about requests that were stopped, and applies what it prints. */
import { mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Backend, startBackend } from '../../harness/backend.ts'
import { crsDirectory, logFrom, type RunningEdge, startEdge } from '../../harness/edge.ts'
import { explainedSoon } from '../../harness/explained.ts'
import { metric, until } from '../../harness/wait.ts'
import type { RegressionCase } from '../crs/cases.ts'
import { transport } from '../crs/transports.ts'
import { type Block, blocks, type Sent } from './blocks.ts'

/** A blocking edge whose setup file can be replaced. */
export interface ExplainedEdge {
  readonly edge: RunningEdge
  readonly backend: Backend
  readonly admin: string
  /** Replaces the exclusions and waits until they are in force. */
  exclude(secLang: string): Promise<void>
  stop(): Promise<void>
}

/** An answer, and the request id that it names. */
export interface Answered {
  readonly status: number
  readonly requestId: string
  readonly body: string
}

const reloads = 'edge_config_reloads_total{result="accepted"}'

/** Null when there is no CRS. */
export async function startExplainedEdge(): Promise<ExplainedEdge | null> {
  const crs = crsDirectory()
  if (crs === null) return null
  const folder = mkdtempSync(join(tmpdir(), 'edge-explain-'))
  const [own, exclusions] = [join(folder, 'own.conf'), join(folder, 'exclusions.conf')]
  const admin = `unix:${join(folder, 'admin.sock')}`
  writeFileSync(own, 'SecResponseBodyAccess On\n')
  writeFileSync(exclusions, '# none yet\n')
  const backend = await startBackend()
  const flags = ['--backend', backend.url, '--no-redirect', '--rules', crs, '--admin', admin]
  const edge = await startEdge({
    arguments: [...flags, '--waf-setup', own, '--waf-setup', exclusions],
    environment: { EDGE_WAF_EVENTS_FILE: join(folder, 'events.db') },
  })
  return {
    edge,
    backend,
    admin,
    async exclude(secLang) {
      const before = await metric(edge.statusPort, reloads)
      writeFileSync(`${exclusions}.new`, secLang)
      renameSync(`${exclusions}.new`, exclusions)
      const output = (): string => `exclusions are in force; ${edge.output()}`
      await until(output, async () => (await metric(edge.statusPort, reloads)) > before, 60_000)
    },
    async stop() {
      await edge.stop()
      backend.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Sends one request over HTTP/1.1, with the fields that a client has. */
export function send(port: number, { method, path, headers = {}, body = '' }: Sent) {
  const { promise, resolve, reject } = Promise.withResolvers<Answered>()
  const given = {
    host: 'localhost',
    'user-agent': 'explained/1',
    accept: '*/*',
    'content-length': String(Buffer.byteLength(body)),
    ...headers,
  }
  const options = { host: '127.0.0.1', port, method, path, headers: given, agent: false }
  const sent = request(options, (response) => {
    let text = ''
    response.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
    response.on('error', reject)
    response.on('end', () => {
      const requestId = String(response.headers['x-request-id'] ?? '')
      resolve({ status: response.statusCode ?? 0, requestId, body: text })
    })
  })
  sent.on('error', reject)
  sent.end(body)
  return promise
}

/** What became of each case: its status, and the rules that matched before the answer. */
async function verdictsOf(
  cases: readonly RegressionCase[],
  edge: RunningEdge,
): Promise<ReadonlyMap<string, string>> {
  const way = transport('h1', edge.httpPort, edge.httpsPort)
  const verdicts = new Map<string, string>()
  try {
    for (const one of cases) {
      const stages: string[] = []
      for (const stage of one.stages) {
        const offset = statSync(edge.wafLog, { throwIfNoEntry: false })?.size ?? 0
        const status = await way.send(stage.request)
        // Lines of phase 5 may follow the answer, and say nothing that the others do not.
        const ids = [...logFrom(edge.wafLog, offset).matchAll(/\[id "(\d+)"\]/g)]
          .map((found) => found[1] ?? '')
          .filter((id) => !id.startsWith('980'))
        stages.push(`${status} ${ids.join(' ')}`)
      }
      verdicts.set(one.id, stages.join(' then '))
    }
  } finally {
    way.close()
  }
  return verdicts
}

/** The cases whose verdict changed, as lines. */
function changed(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): string[] {
  return [...before]
    .filter(([id, verdict]) => after.get(id) !== verdict)
    .map(([id, verdict]) => `${id}: ${verdict} became ${after.get(id)}`)
}

/** Everything that is not as it must be, as lines. */
export async function proveExclusions(
  started: ExplainedEdge,
  cases: readonly RegressionCase[],
): Promise<string[]> {
  const { edge } = started
  const before = await verdictsOf(cases, edge)
  const faults: string[] = []
  const exclusions: string[] = []
  for (const block of blocks) {
    const { exclusion, wrong } = await excludedBy(block, started)
    faults.push(...wrong, ...(await passing(block.neighbours, edge)))
    exclusions.push(exclusion)
  }
  await started.exclude(`${exclusions.join('\n\n')}\n`)
  for (const { name, sent, neighbours } of blocks) {
    const { status } = await send(edge.httpPort, sent)
    if (status !== 200) faults.push(`${name}: ${status} in spite of its exclusion`)
    faults.push(...(await passing(neighbours, edge)))
  }
  return [...faults, ...changed(before, await verdictsOf(cases, edge))]
}

async function excludedBy(
  { name, sent, rules }: Block,
  { edge, admin }: ExplainedEdge,
): Promise<{ readonly exclusion: string; readonly wrong: readonly string[] }> {
  const { status, requestId } = await send(edge.httpPort, sent)
  if (status !== 403) return { exclusion: '', wrong: [`${name}: ${status}, and not stopped`] }
  const { code, out, err } = await explainedSoon(requestId, '--admin', admin, '--as', 'secrule')
  if (code !== 0) return { exclusion: '', wrong: [`${name}: explain ended with ${code}: ${err}`] }
  const found = [...out.matchAll(/ctl:ruleRemove(?:Target)?ById=(\d+)/g)].map(([, id]) =>
    Number(id),
  )
  const isAsExpected = found.join() === rules.join()
  return { exclusion: out, wrong: isAsExpected ? [] : [`${name}: excludes ${found.join()}`] }
}

/** The neighbours that are not stopped. */
async function passing(neighbours: readonly Sent[], { httpPort }: RunningEdge): Promise<string[]> {
  const faults: string[] = []
  for (const near of neighbours) {
    const { status } = await send(httpPort, near)
    if (status !== 403) faults.push(`${JSON.stringify(near)} got ${status}, and was not stopped`)
  }
  return faults
}
