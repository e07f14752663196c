/** Asks `edge explain` about requests that were stopped, and applies what it prints. */
import { mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { RegressionCase } from '../../../proxy/regression/cases.ts'
import { h1Transport } from '../../../proxy/regression/transports.ts'
import { type Backend, startBackend } from '../../harness/backend.ts'
import { crsDirectory, logFrom, type RunningEdge, startEdge } from '../../harness/edge.ts'
import { explainedSoon } from '../../harness/explained.ts'
import { metric, until } from '../../harness/wait.ts'
import { type Block, blocks, type Sent } from './blocks.ts'

/** As what the exclusions are pasted. */
export type Form = 'secrule' | 'yaml'

/** A blocking edge whose exclusions can be replaced. */
export interface ExplainedEdge {
  readonly edge: RunningEdge
  readonly admin: string
  readonly form: Form
  /** Pastes what `edge explain` printed, and waits until it is in force. */
  exclude(printed: readonly string[]): Promise<void>
  stop(): Promise<void>
}

/** An answer, and the request id that it names. */
interface Answered {
  readonly status: number
  readonly requestId: string
}

interface Files {
  readonly crs: string
  readonly backend: Backend
  /** The user's SecLang, and that for exclusions. */
  readonly setup: readonly [own: string, exclusions: string]
  readonly config: string
  readonly admin: string
}

const reloads = 'edge_config_reloads_total{result="accepted"}'

/** Null when there is no CRS. */
export async function startExplainedEdge(form: Form): Promise<ExplainedEdge | null> {
  const crs = crsDirectory()
  if (crs === null) return null
  const folder = mkdtempSync(join(tmpdir(), 'edge-explain-'))
  const path = (name: string): string => join(folder, name)
  const backend = await startBackend()
  const setup = [path('own.conf'), path('exclusions.conf')] as const
  const files = { crs, backend, setup, config: path('edge.yaml'), admin: `unix:${path('admin')}` }
  writeFileSync(setup[0], 'SecResponseBodyAccess On\n')
  writeFileSync(setup[1], '# none yet\n')
  writeFileSync(files.config, configText(files, []))
  const edge = await startEdge({
    arguments: ['--config', files.config, '--no-redirect'],
    // Without compiled rules on disk, and beside everything else that is tested.
    readyTimeoutMs: 120_000,
  })
  return {
    edge,
    admin: files.admin,
    form,
    exclude: (printed) => paste(printed, { ...files, edge, form }),
    async stop() {
      await edge.stop()
      backend.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** One route, so that its exclusions are its own. */
function configText({ crs, backend, setup, admin }: Files, exclusions: readonly unknown[]): string {
  return JSON.stringify({
    upstreams: [{ name: 'backend', endpoints: [{ url: backend.url }] }],
    routes: [{ name: 'shop', upstream: 'backend', waf: { exclusions } }],
    // On a fast machine the cases before have used up the second's evidence.
    waf: { rules: crs, setupFiles: setup, events: { evidencePerSecondMax: 10_000 } },
    admin,
  })
}

async function paste(
  printed: readonly string[],
  files: Files & { readonly edge: RunningEdge; readonly form: Form },
): Promise<void> {
  const { edge, form, setup, config } = files
  const before = await metric(edge.statusPort, reloads)
  const [file, text] =
    form === 'secrule'
      ? [setup[1], printed.join('\n\n')]
      : [config, configText(files, printed.flatMap(exclusionsOf))]
  writeFileSync(`${file}.new`, text)
  renameSync(`${file}.new`, file)
  const output = (): string => `exclusions are in force; ${edge.output()}`
  await until(output, async () => (await metric(edge.statusPort, reloads)) > before, 60_000)
}

/** The list under the route that a snippet names. */
function exclusionsOf(snippet: string): readonly unknown[] {
  const read: { routes: { name: string; waf: { exclusions: unknown[] } }[] } = parse(snippet)
  return read.routes.filter(({ name }) => name === 'shop').flatMap(({ waf }) => waf.exclusions)
}

/** Sends one request over HTTP/1.1, with the fields that a client has. */
function send(port: number, { method, path, headers = {}, body = '' }: Sent) {
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
    response.resume().on('error', reject)
    response.on('end', () => {
      const requestId = String(response.headers['x-request-id'] ?? '')
      resolve({ status: response.statusCode ?? 0, requestId })
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
  const way = h1Transport({ host: '127.0.0.1', port: edge.httpPort, tls: false })
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
  await started.exclude(exclusions)
  for (const { name, sent, neighbours } of blocks) {
    const { status } = await send(edge.httpPort, sent)
    if (status !== 200) faults.push(`${name}: ${status} in spite of its exclusion`)
    faults.push(...(await passing(neighbours, edge)))
  }
  return [...faults, ...changed(before, await verdictsOf(cases, edge))]
}

async function excludedBy(
  { name, sent, rules }: Block,
  { edge, admin, form }: ExplainedEdge,
): Promise<{ readonly exclusion: string; readonly wrong: readonly string[] }> {
  const { status, requestId } = await send(edge.httpPort, sent)
  if (status !== 403) return { exclusion: '', wrong: [`${name}: ${status}, and not stopped`] }
  const { code, out, err } = await explainedSoon(requestId, '--admin', admin, '--as', form)
  if (code !== 0) return { exclusion: '', wrong: [`${name}: explain ended with ${code}: ${err}`] }
  const lists = form === 'secrule' ? /ById=(\d+)/g : /rules: \[([\d, ]+)\]/g
  const found = [...out.matchAll(lists)].map(([, ids]) => ids?.replaceAll(' ', ''))
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
