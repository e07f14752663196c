/** How an attacker dresses a payload. Texts are Latin-1, one character per byte. */
import type { Draw } from './draw.ts'

/** One way to write a text so that something behind the WAF may still read it. */
type Mutation = (text: string, draw: Draw) => string

const code = (character: string): number => character.charCodeAt(0)
const hex = (value: number, width: number): string => value.toString(16).padStart(width, '0')

/** Rewrites about one character in three of those that `which` finds. */
function some(which: RegExp, rewrite: (character: string) => string): Mutation {
  return (text, draw) => text.replaceAll(which, (one) => (draw.once(3) ? rewrite(one) : one))
}

const any = /[^]/g
const percent = (one: string): string => `%${hex(code(one), 2)}`

const blanks = ['\t', '\n', '\v', '\f', '\r', '\xa0', '  ', '/**/', '+', '\0']

const mutations: Readonly<Record<string, Mutation>> = {
  url: some(any, percent),
  'double url': some(any, (one) => `%25${hex(code(one), 2)}`),
  'percent u': some(any, (one) => `%u${hex(code(one), 4)}`),
  'full width': some(/[!-~]/g, (one) => `%uff${hex(code(one) - 0x20, 2)}`),
  'html decimal': some(any, (one) => `&#${code(one)};`),
  'html hex': some(any, (one) => `&#x${hex(code(one), 2)}`),
  'html name': (text) =>
    text.replaceAll('<', '&lt;').replaceAll('"', '&quot').replaceAll('&', '&amp;'),
  'js hex': some(any, (one) => `\\x${hex(code(one), 2)}`),
  'js unicode': some(any, (one) => `\\u${hex(code(one), 4)}`),
  'js octal': some(any, (one) => `\\${code(one).toString(8)}`),
  css: some(any, (one) => `\\${hex(code(one), 1)} `),
  backslash: some(/[a-z]/g, (one) => `\\${one}`),
  upper: some(/[a-z]/g, (one) => one.toUpperCase()),
  comments: some(/[ ]/g, () => '/*x*/'),
  'split word': some(/[a-z]/g, (one) => `${one}/**/`),
  quotes: some(/[a-z]/g, (one) => `${one}''`),
  caret: some(/[a-z]/g, (one) => `${one}^`),
  nulls: some(any, (one) => `${one}\0`),
  blanks: (text, draw) => text.replaceAll(' ', () => draw.pick(blanks)),
  overlong: some(/[!-?]/g, (one) => `\xc0${String.fromCharCode(0x80 | code(one))}`),
  'overlong url': some(/[!-?]/g, (one) => `%c0%${hex(0x80 | code(one), 2)}`),
  base64: (text) => Buffer.from(text, 'latin1').toString('base64'),
  hex: (text) => `0x${Buffer.from(text, 'latin1').toString('hex')}`,
  reversed: (text) => text.split('').toReversed().join(''),
  cut: (text, draw) => text.slice(0, draw.below(text.length + 1)),
  tail: (text, draw) => text.slice(draw.below(text.length + 1)),
  byte: (text, draw) => {
    const at = draw.below(text.length + 1)
    return text.slice(0, at) + String.fromCharCode(draw.below(256)) + text.slice(at)
  },
  'broken escapes': (text, draw) =>
    text + draw.pick(['%', '%z1', '%u00', '&#', '&#x', '\\x', '\\u1']),
  dots: (text) => text.replaceAll('../', '....//'),
  'dot segments': (text) => text.replaceAll('/', '/./'),
  backslashes: (text) => text.replaceAll('/', '\\'),
}

const all = Object.values(mutations)

/** The text after up to three mutations; half of all texts stay as they are. */
export function mutate(text: string, draw: Draw): string {
  let mutated = text
  for (let rounds = Math.max(0, draw.below(7) - 3); rounds > 0; rounds -= 1) {
    mutated = draw.pick(all)(mutated, draw).slice(0, 4_000)
  }
  return mutated
}
