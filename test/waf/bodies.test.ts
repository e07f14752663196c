/** What `waf/base.conf` makes of bodies: charsets, content codings, what does not parse. */
import { readFileSync } from 'node:fs'
import {
  brotliCompressSync,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib'
import { expect, test } from 'vitest'
import { createEngine } from '../../waf/offline/engine.ts'

const text = readFileSync(new URL('../../waf/base.conf', import.meta.url), 'latin1')
const attack = `SecRule ARGS "@streq <script>" "id:1,phase:2,deny,status:403,log,msg:'x'"`
const engine = createEngine([{ file: 'base.conf', text: `${text}\n${attack}` }])

const form = 'application/x-www-form-urlencoded'

function verdictOf(type: string, body: Uint8Array, coding?: string): string {
  const headers: [string, string][] = [['Content-Type', type]]
  if (coding !== undefined) headers.push(['Content-Encoding', coding])
  const { verdict } = engine.inspect({ method: 'POST', target: '/', headers, body })
  return verdict.action === 'deny' ? `${verdict.status} by ${verdict.ruleId}` : verdict.action
}

const refusedCharsets = [
  '"utf-7"',
  'UTF-16',
  'utf16le',
  'ibm037',
  'cp-500',
  'iso-2022-jp',
  'utf-32',
]

for (const charset of refusedCharsets)
  test(`a form in ${charset} is refused`, () => {
    const id = /16/.test(charset) ? 990_014 : 990_012
    expect(verdictOf(`${form}; charset=${charset}`, Buffer.from('a=1'))).toBe(`415 by ${id}`)
  })

for (const charset of ['utf-8', 'us-ascii', 'ISO-8859-1', 'windows-1252', 'cp1252', 'shift_jis'])
  test(`a form in ${charset} is read`, () =>
    expect(verdictOf(`${form}; charset=${charset}`, Buffer.from('a=1'))).toBe('pass'))

test('XML in UTF-16 is read, in UTF-7 refused', () => {
  const document = Buffer.from('\ufeff<a>x</a>', 'utf16le')
  expect(verdictOf('text/xml; charset=utf-16', document)).toBe('pass')
  const declared = Buffer.from('<?xml version="1.0" encoding="utf-7"?><a/>')
  expect(verdictOf('text/xml', declared)).toBe('400 by 990010')
  expect(verdictOf('text/xml; charset=utf-7', Buffer.from('<a/>'))).toBe('415 by 990012')
})

const codings = [
  ['gzip', gzipSync],
  ['deflate', deflateSync],
  ['deflate', deflateRawSync],
  ['br', brotliCompressSync],
  ['zstd', zstdCompressSync],
] as const

for (const [coding, encode] of codings)
  test(`${coding} hides nothing, and its bombs are refused`, () => {
    expect(verdictOf(form, encode(Buffer.from('a=1')), coding)).toBe('pass')
    expect(verdictOf(form, encode(Buffer.from('a=<script>')), coding)).toBe('403 by 1')
    const twice = gzipSync(encode(Buffer.from('a=<script>')))
    expect(verdictOf(form, twice, `${coding}, gzip`)).toBe('403 by 1')
    const bomb = encode(Buffer.alloc(2 * 1024 * 1024))
    expect(verdictOf(form, bomb, coding)).toBe('415 by 990013')
  })

test('what cannot be decoded is refused', () => {
  for (const coding of ['gzip', 'rot13', 'gzip, gzip, gzip, gzip'])
    expect(verdictOf(form, Buffer.from('a=1'), coding)).toBe('415 by 990013')
})

test('a field that a request without a body has means nothing', () =>
  expect(verdictOf(form, Buffer.alloc(0), 'rot13')).toBe('pass'))

test('a file may have lines of dashes and an apostrophe in its name', () => {
  const head = 'Content-Disposition: form-data; name="f"; filename="it\'s.pem"'
  const body = `--xx\r\n${head}\r\n\r\n-----BEGIN-----\r\n--xx--\r\n`
  const type = 'multipart/form-data; boundary=xx; charset=utf-8'
  expect(verdictOf(type, Buffer.from(body))).toBe('pass')
})
