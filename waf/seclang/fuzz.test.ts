import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { SecLangError } from './faults.ts'
import { parseSecLang } from './parser.ts'

const pieces = fc.constantFrom(
  'SecRule ',
  'SecAction ',
  'SecMarker ',
  'SecDefaultAction ',
  'SecRuleUpdateTargetById ',
  'SecRuleUpdateActionById ',
  'SecRuleRemoveByTag ',
  'ARGS',
  'TX:',
  '|',
  '!',
  '&',
  '/',
  '@rx ',
  '@pm ',
  '"',
  "'",
  '\\',
  '\n',
  '\\\n',
  ',',
  ':',
  ' ',
  '1',
  'id:',
  'chain',
  'phase:2',
  'setvar:',
  'ctl:ruleRemoveTargetById=',
  ';',
  '%{tx.a}',
  '(',
  '#',
  '\xff',
)

test('any text is a ruleset or a list of faults inside its lines', () => {
  const text = fc.array(pieces, { maxLength: 60 }).map((parts) => parts.join(''))
  fc.assert(
    fc.property(text, (written) => {
      const lines = written.split('\n')
      try {
        parseSecLang([{ file: 'fuzz.conf', text: written }])
      } catch (error) {
        if (!(error instanceof SecLangError)) throw error
        for (const { line, column } of error.faults) {
          expect(column).toBeGreaterThan(0)
          expect(column).toBeLessThanOrEqual((lines[line - 1]?.length ?? -1) + 2)
        }
      }
    }),
    { numRuns: 3_000, seed: 3 },
  )
})
