import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { lint } from '../lint/lint.ts'
import type { SecLangFault } from '../rule.ts'
import { directives, refusedDirectives } from './directives.ts'
import { readSecLang } from './parser.ts'
import { variables } from './variables.ts'

/** Files are read by other tests; here a random path must not choose one. */
const readsFiles = /^(?:include|includeoptional)$/

const names = [...directives.keys(), ...refusedDirectives.keys()].filter(
  (name) => !readsFiles.test(name),
)

const marks = ['|', '!', '&', '/', '"', "'", '\\', '\n', '\\\n', '\r\n', ',', ':', ' ', '\t', ';']
const words = `1 0 -1 99999999999999999999 id: id:1 id:2 chain phase:2 phase:9 deny pass block
  status:403 skip:1 skipAfter:END END t:none t:lowercase t:foo capture multiMatch
  severity:2 msg: logdata: tag: setvar: setvar:tx.a=+1 setvar:'!tx.a' ctl:
  ctl:ruleRemoveById=1-5 ctl:ruleRemoveTargetById=1;ARGS:/x/
  ctl:requestBodyProcessor=JSON initcol:ip=%{REMOTE_ADDR} expirevar:ip.a=5
  setenv:a=b xmlns: allow:phase redirect:/ %{tx.a} %{ %{} ( [ (?= {2}+ # On Off
  ARGS:a XML:/* XML://@* TX:/^a/ !ARGS:a &ARGS ARGS:'a @rx @rxGlobal @pm @within
  @ipMatch @eq @verifyCC @nosuch !@rx`.split(/\s+/)

const piece = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...marks) },
  { weight: 3, arbitrary: fc.constantFrom(...words) },
  { weight: 1, arbitrary: fc.constantFrom(...variables.keys()) },
  { weight: 1, arbitrary: fc.constantFrom('SecRule ', 'SecAction ', 'SecMarker ') },
  { weight: 1, arbitrary: fc.constantFrom(...names).map((name) => `\n${name} `) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 4 }).map(latin1) },
)

const anyText = fc.array(piece, { maxLength: 60 }).map((parts) => parts.join(''))

/** A rule that is nearly one, so that what stands in it is read too. */
const nearlyRule = fc
  .tuple(fc.array(piece, { maxLength: 6 }), fc.array(piece, { maxLength: 6 }), fc.array(piece))
  .map(([targets, operator, actions]) => {
    const quoted = (parts: readonly string[]): string => parts.join('').replaceAll('"', '')
    return `SecRule ARGS|${targets.join('')} "@rx ${quoted(operator)}" "id:7,${quoted(actions)}"`
  })

const text = fc.oneof(
  anyText,
  nearlyRule,
  fc.tuple(nearlyRule, anyText).map((both) => both.join('\n')),
)

function latin1(any: string): string {
  return Buffer.from(any, 'utf16le').toString('latin1')
}

function isPlaced({ line, column, message, mend }: SecLangFault, lines: readonly string[]): void {
  expect(column).toBeGreaterThan(0)
  expect(column).toBeLessThanOrEqual((lines[line - 1]?.length ?? -1) + 2)
  expect(message).not.toBe('')
  expect(mend).not.toBe('')
}

/** Far more than any of these texts takes on a loaded machine; a reader that hangs takes longer. */
const readMsMax = 2_000

test('any text is a ruleset or a list of faults, each inside its lines and with a mend', () => {
  fc.assert(
    fc.property(text, (written) => {
      const lines = written.split('\n')
      const start = performance.now()
      const { ruleset, faults } = readSecLang([{ file: 'fuzz.conf', text: written }])
      expect(performance.now() - start).toBeLessThan(readMsMax)
      for (const fault of [...faults, ...ruleset.notices]) isPlaced(fault, lines)
    }),
    { numRuns: 4_000, seed: 3 },
  )
})

test('whatever was read can be judged', () => {
  fc.assert(
    fc.property(text, (written) => {
      const inputs = [{ file: 'fuzz.conf', text: written }]
      for (const finding of lint({ inputs, compile: () => undefined }).findings) {
        isPlaced(finding, written.split('\n'))
      }
    }),
    { numRuns: 1_000, seed: 5 },
  )
})

test('long texts are read in linear time', () => {
  for (const part of ['SecRule ARGS x "id:1,\\\n', '\\', 'ARGS|', "'", 'id:1,', '%{', '@rx (']) {
    const written = `SecRule "${part.repeat(20_000)}`
    const start = performance.now()
    readSecLang([{ file: 'long.conf', text: written }])
    readSecLang([{ file: 'long.conf', text: `SecRule ARGS "@rx a" "${part.repeat(20_000)}"` }])
    readSecLang([{ file: 'long.conf', text: `SecRule ${part.repeat(20_000)} "@rx a" "id:1"` }])
    expect(performance.now() - start).toBeLessThan(3 * readMsMax)
  }
})
