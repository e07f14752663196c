/** The published result: every rule file on every protocol. */
import { basename, dirname } from 'node:path'
import type { RunReport } from '../../../proxy/regression/run.ts'
import { type Protocol, protocols } from './edge.ts'

/** What one run over one protocol found. */
export type Reports = ReadonlyMap<Protocol, RunReport>

/** Markdown: a table by rule file, then why cases were not carried, then every failure. */
export function matrixText(reports: Reports, version: string, overrides: number): string {
  const groups = new Set(
    [...reports.values()].flatMap(({ passed, failed, notCarried, ignored }) =>
      [...passed, ...failed, ...notCarried, ...ignored].map(({ file }) => groupOf(file)),
    ),
  )
  const rows = [...groups].toSorted().map((group) => row(group, reports, group))
  const head = ['rule file', ...protocols].join(' | ')
  return `# CRS ${version} regression cases

Written by \`npm run conformance:crs -- --matrix\`: each case over a real socket against
\`edge run\` in detection mode, judged by the WAF's log; ${overrides} overrides with their reasons
in \`crs-overrides.yaml\`. A cell is: passed / failed / not carried by the protocol.

| ${head} |
|---|---|---|---|
${[...rows, row('**all**', reports, null)].join('\n')}

## Not carried

${protocols.flatMap((protocol) => reasons(protocol, reports)).join('\n')}

## Failed

${failures(reports).join('\n')}
`
}

/** The folder of a case's file is named for the rule file. */
function groupOf(file: string): string {
  return basename(dirname(file))
}

function row(title: string, reports: Reports, group: string | null): string {
  const cells = protocols.map((protocol) => {
    const report = reports.get(protocol)
    if (report === undefined) return 'not run'
    const lists = [report.passed, report.failed, report.notCarried]
    return lists.map((list) => countOf(list, group)).join(' / ')
  })
  return `| ${[title, ...cells].join(' | ')} |`
}

function countOf(list: readonly { readonly file: string }[], group: string | null): number {
  return list.filter(({ file }) => group === null || groupOf(file) === group).length
}

function reasons(protocol: Protocol, reports: Reports): string[] {
  const counts = new Map<string, string[]>()
  for (const { id, reason } of reports.get(protocol)?.notCarried ?? []) {
    counts.set(reason, [...(counts.get(reason) ?? []), id])
  }
  const lines = [...counts].toSorted(([one], [other]) => (one < other ? -1 : 1))
  return lines.map(([reason, ids]) => `- ${protocol}: ${reason}: ${ids.join(', ')}`)
}

function failures(reports: Reports): string[] {
  const lines = [...reports].flatMap(([protocol, { failed }]) =>
    failed.map(
      ({ id, expected, seen }) => `- ${protocol} ${id}: expected ${expected}; seen: ${seen}`,
    ),
  )
  return lines.length === 0 ? ['None.'] : lines
}
