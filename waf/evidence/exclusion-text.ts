/** An exclusion as it is pasted: SecLang for a setup file, `edge.yaml`, Helm values. */
import { crc32 } from 'node:zlib'
import type { ExcludedRule, ExcludedTarget, Exclusion } from './exclusion.ts'

/** What only the configuration can be bound to. */
export interface Scope {
  /** Null, or the only one there is: it stands under `waf` itself. */
  readonly route: string | null
  /** The canonical path, which the router sees. */
  readonly path: string
  /** Why it is there: the request. */
  readonly reason: string
}

// The range that ModSecurity leaves to users; ours are 990000 to 990099, the CRS's begin at 900000.
const firstId = 10_000
const ids = 80_000
// A target in edge.yaml may have 500 characters.
const patternCharactersMax = 400
const plainTarget = /^[\w.[\]-]+$/
const plainPath = /^[\w./~-]+$/

/** For a setup file, which is read before the rules. */
export function asSecRule(exclusion: Exclusion, scope: Scope, id?: number): string {
  const { method, filename, rules } = exclusion
  const actions = rules.flatMap(controls)
  const own = id ?? firstId + (crc32(`${method} ${filename} ${actions.join()}`) % ids)
  return [
    ...comment(exclusion, scope),
    `SecRule REQUEST_METHOD "@streq ${method}" \\`,
    `    "id:${own},phase:1,pass,nolog,t:none,chain"`,
    `    SecRule REQUEST_FILENAME "${pathTest(filename)}" \\`,
    `        "t:none,\\`,
    ...actions.map((action, index) => {
      const end = index === actions.length - 1 ? '"' : ',\\'
      return `        ${action}${end}`
    }),
  ].join('\n')
}

/** For `edge.yaml`. */
export function asYaml(exclusion: Exclusion, scope: Scope): string {
  const list = yamlExclusions(exclusion, scope)
  const head = comment(exclusion, scope)
  if (scope.route === null) return [...head, 'waf:', '  exclusions:', ...indent(list, 4)].join('\n')
  const route = `  - name: ${JSON.stringify(scope.route)}`
  return [...head, 'routes:', route, '    waf:', '      exclusions:', ...indent(list, 8)].join('\n')
}

/** For the chart: the same under `config`. */
export function asHelm(exclusion: Exclusion, scope: Scope): string {
  const [...lines] = asYaml(exclusion, scope).split('\n')
  const head = lines.filter((line) => line.startsWith('#'))
  const body = lines.filter((line) => !line.startsWith('#'))
  return [...head, 'config:', ...indent(body, 2)].join('\n')
}

function comment({ rules, notes }: Exclusion, { reason }: Scope): string[] {
  const whole = rules
    .filter(({ why }) => why !== '')
    .map(({ ruleId, why, targets }) =>
      targets === null ? `${ruleId} goes as a whole: ${why}` : `${ruleId}: ${why}`,
    )
  return [reason, ...whole, ...notes].map((line) => `# ${line.replaceAll(/[^\x20-\x7e]/g, '?')}`)
}

function controls({ ruleId, targets }: ExcludedRule): string[] {
  if (targets === null) return [`ctl:ruleRemoveById=${ruleId}`]
  return targets.map((target) => `ctl:ruleRemoveTargetById=${ruleId};${targetText(target)}`)
}

function yamlExclusions({ method, rules }: Exclusion, { path, reason }: Scope): string[] {
  const cut = path.endsWith('…')
  const shown = cut ? `${path.slice(0, -1)}*` : path
  const byTargets = new Map<string, number[]>()
  for (const { ruleId, targets } of rules) {
    const key = targets === null ? '' : `[${targets.map(quotedTarget).join(', ')}]`
    const same = byTargets.get(key)
    if (same === undefined) byTargets.set(key, [ruleId])
    else same.push(ruleId)
  }
  return [...byTargets].flatMap(([targets, ruleIds]) => [
    `- rules: [${ruleIds.join(', ')}]`,
    ...(targets === '' ? [] : [`  targets: ${targets}`]),
    `  paths: [${JSON.stringify(shown)}]`,
    `  methods: [${JSON.stringify(method)}]`,
    `  reason: ${JSON.stringify(reason.slice(0, 200))}`,
  ])
}

function quotedTarget(target: ExcludedTarget): string {
  return JSON.stringify(targetText(target))
}

/** A name that could be taken for syntax becomes a pattern that means just that name. */
function targetText({ variable, name, isPrefix }: ExcludedTarget): string {
  if (name === null) return variable
  if (variable === 'XML') return `${variable}:${name}`
  if (!isPrefix && plainTarget.test(name)) return `${variable}:${name}`
  const pattern = escaped(name)
  if (pattern.length <= patternCharactersMax) {
    return `${variable}:/^${pattern}${isPrefix ? '' : '$'}/`
  }
  return `${variable}:/^${escaped(name.slice(0, patternCharactersMax / 4))}/`
}

function pathTest(filename: string): string {
  if (plainPath.test(filename)) return `@streq ${filename}`
  return `@rx \\A${escaped(filename).replaceAll('\\x2f', '/')}\\z`
}

/** Everything but letters, digits, `_` and `-` escaped, as every dialect understands it. */
function escaped(text: string): string {
  return text.replaceAll(/[^\w-]/g, (character) =>
    character === '.' ? '\\.' : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

function indent(lines: readonly string[], columns: number): string[] {
  return lines.map((line) => `${' '.repeat(columns)}${line}`)
}
