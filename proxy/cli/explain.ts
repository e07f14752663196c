/** `edge explain REQUEST-ID`: what stopped a request, why, and what would let it pass. */
import { parseArgs } from 'node:util'
import { type Exclusion, narrowest } from '../../waf/evidence/exclusion.ts'
import { asHelm, asSecRule, asYaml, type Scope } from '../../waf/evidence/exclusion-text.ts'
import { isAdminAddress, Unreachable } from '../admin/ask.ts'
import { UsageError } from '../config/faults.ts'
import type { ReadEvent } from '../events/event-json.ts'
import { exitCodes } from './exit-codes.ts'
import { fromAdmin, fromFile } from './explain-source.ts'
import { explanation } from './explain-text.ts'
import type { Terminal } from './terminal.ts'

const writers = { secrule: asSecRule, yaml: asYaml, helm: asHelm } as const
type Form = keyof typeof writers

interface Asked {
  readonly requestId: string
  readonly source: { readonly admin: string } | { readonly file: string }
  readonly isJson: boolean
  readonly form: Form | null
}

/** Runs the command; its exit code. */
export async function explain(args: readonly string[], terminal: Terminal): Promise<number> {
  const asked = readArguments(args, terminal)
  const { requestId, source, isJson, form } = asked
  try {
    const event = await ('admin' in source
      ? fromAdmin(source.admin, requestId)
      : fromFile(source.file, requestId))
    if (event === null) {
      terminal.error(`edge: no event of request ${requestId}; events are kept for a while only`)
      return exitCodes.foundProblems
    }
    if (form !== null) return printForm(event, form, terminal)
    if (isJson) terminal.print(JSON.stringify(asJson(event), null, 2))
    else printText(event, terminal)
    return exitCodes.fine
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error
    terminal.error(`edge: ${error.message}`)
    return exitCodes.failure
  }
}

function printForm(event: ReadEvent, form: Form, terminal: Terminal): number {
  const exclusion = exclusionOf(event)
  if (exclusion === null) {
    terminal.error('edge: nothing that rules can be excluded from stopped this request')
    return exitCodes.foundProblems
  }
  terminal.print(writers[form](exclusion, scopeOf(event)))
  return exitCodes.fine
}

function printText(event: ReadEvent, terminal: Terminal): void {
  const colors = terminal.colors === true && (terminal.env['NO_COLOR'] ?? '') === ''
  for (const line of explanation(event, { colors })) terminal.print(line)
  const exclusion = exclusionOf(event)
  if (exclusion === null) return
  const scope = scopeOf(event)
  const [first = ''] = exclusion.tolerated
  terminal.print('\nIf this is no attack, the narrowest exclusion that lets it pass, as SecLang')
  terminal.print('(a file of waf.setupFiles); --as yaml and --as helm write it for edge.yaml and')
  terminal.print('the chart. Rules that may go on counting are not excluded.')
  if (first !== '') terminal.print(`Not needed: ${exclusion.tolerated.join(', ')}`)
  terminal.print(`\n${asSecRule(exclusion, scope)}`)
}

function asJson(event: ReadEvent): object {
  const exclusion = exclusionOf(event)
  const scope = scopeOf(event)
  const texts = Object.entries(writers).map(([form, write]) => [
    form,
    exclusion === null ? null : write(exclusion, scope),
  ])
  return { event: event.fields, exclusion, ...Object.fromEntries(texts) }
}

function exclusionOf({ evidence }: ReadEvent): Exclusion | null {
  return evidence === null ? null : narrowest(evidence)
}

/** The route that is made when none is written has its settings under `waf` itself. */
function scopeOf({ fields }: ReadEvent): Scope {
  const field = (name: string): string => {
    const value = fields[name]
    return typeof value === 'string' ? value : ''
  }
  const route = field('http.route')
  return {
    route: route === '' || route === 'default' ? null : route,
    path: field('url.path'),
    reason: `edge explain ${field('request.id')}`,
  }
}

function readArguments(args: readonly string[], terminal: Terminal): Asked {
  const { values, positionals } = parsed(args)
  const [requestId, ...more] = positionals
  if (requestId === undefined || requestId === '')
    throw new UsageError('which request? Name its id')
  if (more.length > 0)
    throw new UsageError(`explain takes one request id, not ${positionals.length}`)
  const { as: form = null, json: isJson = false, file } = values
  if (form !== null && !isForm(form)) {
    throw new UsageError(`--as ${form}: write secrule, yaml or helm`)
  }
  const admin = values.admin ?? terminal.env['EDGE_ADMIN'] ?? ''
  if (file === undefined && admin === '') {
    throw new UsageError('where to ask? --admin ADDR:PORT or unix:PATH (or EDGE_ADMIN), or --file')
  }
  if (file === undefined && !isAdminAddress(admin)) {
    throw new UsageError(`--admin ${admin}: write ADDR:PORT or unix:PATH`)
  }
  return { requestId, source: file === undefined ? { admin } : { file }, isJson, form }
}

function isForm(text: string): text is Form {
  return Object.hasOwn(writers, text)
}

function parsed(args: readonly string[]) {
  const options = {
    admin: { type: 'string' },
    file: { type: 'string' },
    json: { type: 'boolean' },
    as: { type: 'string' },
  } as const
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: true })
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new UsageError(error.message, { cause: error })
  }
}
