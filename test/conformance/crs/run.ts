/** Runs regression cases against a running edge and judges them by its WAF log. */
import { mkdtempSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { crsDirectory, logFrom, startEdge, type RunningEdge } from '../../harness/edge.ts'
import { startBackend, type Backend } from '../../harness/backend.ts'
import type { CaseExpectation, RegressionCase, Stage } from './cases.ts'
import { overrides } from './overrides.ts'
import { transport, type Protocol, type Transport } from './transports.ts'

/** What a run found. `skipped` counts cases that the protocol cannot carry, by reason. */
export interface RunReport {
  readonly passed: number
  readonly failed: readonly { readonly id: string; readonly why: string }[]
  readonly skipped: ReadonlyMap<string, number>
}

/** What the CRS cases presume (../shared/crs/README.md): everything on, detection only, PL 4. */
const setup = `SecAction "id:9900500,phase:1,pass,nolog,t:none,ctl:ruleRemoveById=910000,\\
  setvar:tx.blocking_paranoia_level=4,setvar:tx.detection_paranoia_level=4,\\
  setvar:tx.crs_validate_utf8_encoding=1,setvar:tx.arg_name_length=100,setvar:tx.arg_length=400,\\
  setvar:tx.total_arg_length=64000,setvar:tx.max_num_args=255,setvar:tx.max_file_size=64100,\\
  setvar:tx.combined_file_sizes=65535"
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html text/xml application/json
`

/**
 * An edge in detection mode with the shared CRS, and its backend. Null when the CRS is not there.
 */
export async function startConformanceEdge(): Promise<{
  edge: RunningEdge
  backend: Backend
} | null> {
  const crs = crsDirectory()
  if (!crs) return null
  const backend = await startBackend()
  const file = join(mkdtempSync(join(tmpdir(), 'crs-setup-')), 'setup.conf')
  writeFileSync(file, setup)
  const flags = ['--backend', backend.url, '--no-redirect', '--waf', 'detect', '--rules', crs]
  return { edge: await startEdge({ arguments: [...flags, '--waf-setup', file] }), backend }
}

/** Runs the cases one after another over one protocol. */
export async function runCases(
  cases: readonly RegressionCase[],
  edge: RunningEdge,
  protocol: Protocol,
): Promise<RunReport> {
  const way = transport(protocol, edge.httpPort, edge.httpsPort)
  const failed: { id: string; why: string }[] = []
  const skipped = new Map<string, number>()
  let passed = 0
  try {
    for (const one of cases) {
      if (overrides[one.id]?.protocols.includes(protocol)) {
        skipped.set('override', (skipped.get('override') ?? 0) + 1)
        continue
      }
      const result = await runCase(one, edge, way)
      if (result === null) passed += 1
      else if (result.skipped) skipped.set(result.why, (skipped.get(result.why) ?? 0) + 1)
      else failed.push({ id: one.id, why: result.why })
    }
  } finally {
    way.close()
  }
  return { passed, failed, skipped }
}

async function runCase(one: RegressionCase, edge: RunningEdge, way: Transport) {
  for (const stage of one.stages) {
    const result = await runStage(stage, edge, way)
    if (result) return result
  }
  return null
}

async function runStage(stage: Stage, edge: RunningEdge, way: Transport) {
  const offset = sizeOf(edge.wafLog)
  const status = await way.send(stage.request)
  if (typeof status === 'string') return { skipped: true, why: status }
  // Lines of phases 1 to 4 are in the file already; only phase 5 may follow the response.
  for (let attempt = 0; ; attempt += 1) {
    const why = judge(stage.expect, status, logFrom(edge.wafLog, offset))
    if (why === null) return null
    if (attempt === 5) return { skipped: false, why }
    await sleep(20)
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

/** Null when the stage is as expected, else what differs. */
export function judge(expect: CaseExpectation, status: number, log: string): string | null {
  if (expect.expectError)
    return status === 0 || status === 400 ? null : `status ${status}, not an error`
  if (expect.status !== null && expect.status !== status)
    return `status ${status} instead of ${expect.status}`
  const seen = new Set([...log.matchAll(/\[id "(\d+)"\]/g)].map((match) => Number(match[1])))
  for (const id of expect.expectIds) if (!seen.has(id)) return `${id} missing (status ${status})`
  for (const id of expect.noExpectIds) if (seen.has(id)) return `${id} unexpected`
  if (expect.matchRegex !== null && !new RegExp(expect.matchRegex).test(log))
    return `log does not match ${expect.matchRegex}`
  if (expect.noMatchRegex !== null && new RegExp(expect.noMatchRegex).test(log))
    return `log matches ${expect.noMatchRegex}`
  return null
}
