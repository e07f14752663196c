import { expect, test } from 'vitest'
import { offsetOf, positionOf, statements, words, type Statement } from './lexer.ts'

function only(text: string): Statement {
  const found = statements(text)[0]
  if (found === undefined) throw new Error('no statement')
  return found
}

const files = [
  ['SecMarker A\n# comment\n\nSecMarker B', ['1 SecMarker A', '4 SecMarker B']],
  ['SecAction \\\n  "id:1,\\\n  pass"', ['1 SecAction   "id:1,  pass"']],
  ['\r\nSecMarker A\r\n', ['2 SecMarker A']],
  ['SecMarker A\\\\\nSecMarker B', ['1 SecMarker A\\\\', '2 SecMarker B']],
  ['# half \\\nSecMarker A', ['2 SecMarker A']],
  ['\xef\xbb\xbfSecMarker A', ['1 SecMarker A']],
  ['SecMarker A \\', ['1 SecMarker A']],
  ['SecMarker A \\  \n B', ['1 SecMarker A  B']],
] as const

for (const [text, expected] of files)
  test(`${JSON.stringify(text)} is ${expected.length} statements`, () =>
    expect(statements(text).map(({ line, text: one }) => `${line} ${one}`)).toEqual(expected))

const lines = [
  ['SecRule ARGS "@rx a b" "id:1"', ['SecRule', 'ARGS', '@rx a b', 'id:1']],
  ['SecRule ARGS "a\\"b" id:1', ['SecRule', 'ARGS', 'a"b', 'id:1']],
  ['SecRule ARGS "a\\\\" "id:1"', ['SecRule', 'ARGS', 'a\\\\', 'id:1']],
  ['SecRule ARGS "\\d\\\'"', ['SecRule', 'ARGS', "\\d\\'"]],
  ["SecRule TX:'/a b/' x", ['SecRule', "TX:'/a b/'", 'x']],
  ["SecRule ARGS x id:1,msg:'two words'", ['SecRule', 'ARGS', 'x', "id:1,msg:'two words'"]],
  ["SecMarker 'A B'", ['SecMarker', 'A B']],
  ["SecMarker it's", ['SecMarker', "it's"]],
  ['SecMarker', ['SecMarker']],
  ['SecRule ARGS ""', ['SecRule', 'ARGS', '']],
] as const

for (const [text, expected] of lines)
  test(`${text} is ${expected.length} words`, () => {
    const read = words(only(text), expect.unreachable)
    expect([read?.directive, ...(read?.words.map((word) => word.text) ?? [])]).toEqual(expected)
  })

test('a quoted argument without an end is a fault', () => {
  const faults: string[] = []
  expect(words(only('SecRule ARGS "x'), (message) => faults.push(message))).toBe(null)
  expect(faults).toEqual(['SecRule: a quoted argument does not end'])
})

test('an offset in a word is a line and a column of the file', () => {
  const statement = only('\n  SecRule ARGS \\\n    "a\\"b" \\\n  "id:1,\\\n  foo"')
  const read = words(statement, expect.unreachable)?.words ?? []
  const at = (word: number, offset: number): unknown => {
    const found = read[word]
    return found && positionOf(statement, offsetOf(found, offset))
  }
  expect(positionOf(statement, 2)).toEqual({ line: 2, column: 3 })
  expect(at(0, 0)).toEqual({ line: 2, column: 11 })
  expect(at(1, 0)).toEqual({ line: 3, column: 6 })
  expect(at(1, 2)).toEqual({ line: 3, column: 9 })
  expect(at(2, 0)).toEqual({ line: 4, column: 4 })
  expect(at(2, 7)).toEqual({ line: 5, column: 3 })
})
