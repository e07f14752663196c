import { expect, test } from 'vitest'
import { Redaction } from './redact.ts'

const redaction = new Redaction()

const members = [
  ['REQUEST_HEADERS', 'Authorization', true],
  ['REQUEST_HEADERS', 'User-Agent', false],
  ['REQUEST_COOKIES', 'anything', true],
  ['REQUEST_COOKIES_NAMES', 'anything', false],
  ['ARGS', 'Password', true],
  ['ARGS', 'json.user.password', true],
  ['ARGS', 'user[token]', true],
  ['ARGS', 'keyboard', false],
  ['ARGS_NAMES', 'password', false],
  ['REQUEST_URI', null, false],
] as const

for (const [variable, name, hidden] of members) {
  test(`${variable}:${name} is ${hidden ? 'hidden' : 'shown'}`, () => {
    expect(redaction.hides(variable, name)).toBe(hidden)
  })
}

const texts = [
  ['/a?token=abc&x=1', '/a?token=***&x=1'],
  ['q=1&PASSWORD=ab cd', 'q=1&PASSWORD=** cd'],
  ['{"password": "a\\"b", "x": "y"}', '{"password": "****", "x": "y"}'],
  ['{"key":12345,"x":1}', '{"key":*****,"x":1}'],
  ['{"token":"cut of', '{"token":"******'],
  ['mytoken=abc', 'mytoken=abc'],
  ['x=/a?password=s&token=t', 'x=/a?password=*&token=*'],
  ['%70ass%77ord=abc', '%70ass%77ord=***'],
  ['user[password]=abc', 'user[password]=***'],
  ['password=', 'password='],
  ['plain', 'plain'],
] as const

for (const [text, shown] of texts) {
  test(`${text} is shown as ${shown}`, () => {
    expect(redaction.text(text)).toBe(shown)
    expect(shown).toHaveLength(text.length)
  })
}

test('without names nothing is hidden', () => {
  const open = new Redaction([])
  expect(open.hides('REQUEST_COOKIES', 'sid')).toBe(false)
  expect(open.text('password=x')).toBe('password=x')
})
