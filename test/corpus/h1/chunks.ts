/** Chunked bodies: sizes, extensions, line ends, trailers. */
import { type Case, cut, forwarded, post } from '../case.ts'

const chunked = ['Transfer-Encoding: chunked']

function good(id: string, body: string, content: string, why?: string): Case {
  return forwarded(`chunk-${id}`, post(chunked, body), { line: 'POST /p', body: content }, why)
}

function bad(id: string, body: string, status = 400): Case {
  return cut(`chunk-${id}`, post(chunked, body), status)
}

const end = '0\r\n\r\n'

const accepted: readonly Case[] = [
  good('empty', end, ''),
  good('one', `3\r\nabc\r\n${end}`, 'abc'),
  good('many', `1\r\na\r\n2\r\nbc\r\n${end}`, 'abc'),
  good('upper-hex', `A\r\n0123456789\r\n${end}`, '0123456789'),
  good(
    'leading-zeros',
    `0000000000000003\r\nabc\r\n${end}`,
    'abc',
    'chunk-size is 1*HEXDIG; at most 16 digits',
  ),
  good('last-000', '1\r\na\r\n000\r\n\r\n', 'a', 'last-chunk is 1*"0"'),
  good('content-is-chunks', `5\r\n0\r\n\r\n\r\n${end}`, '0\r\n\r\n'),
  good('extension', `3;a=b\r\nabc\r\n${end}`, 'abc', 'RFC 9112 §7.1.1: extensions are dropped'),
  good('extension-name', `3;a\r\nabc\r\n${end}`, 'abc', 'RFC 9112 §7.1.1: extensions are dropped'),
  good(
    'extension-quoted',
    `3;a="b c"\r\nabc\r\n${end}`,
    'abc',
    'RFC 9112 §7.1.1: extensions are dropped',
  ),
  good(
    'extension-quoted-open',
    `3;a="b\r\nabc\r\n${end}`,
    'abc',
    'an extension ends with its line, whatever quotes it has; it is dropped',
  ),
  good(
    'extension-empty',
    `3;\r\nabc\r\n${end}`,
    'abc',
    'an extension ends with its line; it is dropped',
  ),
  good('extension-last', '1\r\na\r\n0;x=y\r\n\r\n', 'a', 'RFC 9112 §7.1.1: extensions are dropped'),
  good(
    'extension-limit',
    `1;${'x'.repeat(256)}\r\na\r\n${end}`,
    'a',
    'up to 256 bytes of extension',
  ),
  good('trailer-dropped', '1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n', 'a'),
  good('trailer-count-limit', `0\r\n${'a: b\r\n'.repeat(16)}\r\n`, ''),
  good('trailer-bytes-limit', `0\r\na: ${'b'.repeat(8191)}\r\n\r\n`, ''),
]

const sizes: readonly Case[] = [
  ['size-empty', '\r\nabc\r\n'],
  ['size-word', 'x\r\nabc\r\n'],
  ['size-plus', '+3\r\nabc\r\n'],
  ['size-minus', '-3\r\nabc\r\n'],
  ['size-0x', '0x3\r\nabc\r\n'],
  ['size-h', '3h\r\nabc\r\n'],
  ['size-point', '3.0\r\nabc\r\n'],
  ['size-underscore', '0_3\r\nabc\r\n'],
  ['size-comma', '3,3\r\nabc\r\n'],
  ['size-space-before', ' 3\r\nabc\r\n'],
  ['size-tab-before', '\t3\r\nabc\r\n'],
  ['size-space-after', '3 \r\nabc\r\n'],
  ['size-tab-after', '3\t\r\nabc\r\n'],
  ['size-vtab-after', '3\x0b\r\nabc\r\n'],
  ['size-nul-after', '3\0\r\nabc\r\n'],
  ['size-nbsp', '3\xa0\r\nabc\r\n'],
  ['size-17-digits', '00000000000000003\r\nabc\r\n'],
  ['size-over-64-bit', '10000000000000003\r\nabc\r\n'],
  ['size-f17', `${'f'.repeat(17)}\r\nabc\r\n`],
  ['size-semicolon-only', ';\r\nabc\r\n'],
  ['size-semicolon-first', ';3\r\nabc\r\n'],
  ['size-lf', '3\nabc\r\n'],
  ['size-cr', '3\rabc\r\n'],
  ['size-crcr', '3\r\r\nabc\r\n'],
  ['size-lfcr', '3\n\rabc\r\n'],
  ['second-size-lf', '1\r\na\r\n3\nabc\r\n'],
].map(([id = '', body = '']) => bad(id, body + end))

const lineEnds: readonly Case[] = [
  ['end-lf', `3\r\nabc\n${end}`],
  ['end-cr', `3\r\nabc\r${end}`],
  ['end-missing', `3\r\nabc${end}`],
  ['end-long', `3\r\nabcd\r\n${end}`],
  ['end-xx', `3\r\nabcXX${end}`],
  ['end-double', `3\r\nabc\r\n\r\n${end}`],
  ['last-lf', '1\r\na\r\n0\n\n'],
  ['last-lf-crlf', '1\r\na\r\n0\n\r\n'],
  ['last-crlf-lf', '1\r\na\r\n0\r\n\n'],
  ['last-cr', '1\r\na\r\n0\r\r\n\r\n'],
  ['last-space', '1\r\na\r\n0 \r\n\r\n'],
].map(([id = '', body = '']) => bad(id, body))

const extensions: readonly Case[] = [
  ['extension-space-before', '3 ;a=b\r\nabc\r\n'],
  ['extension-lf', '3;a=b\nabc\r\n'],
  ['extension-lf-then-crlf', '3;\n\r\nabc\r\n'],
  ['extension-cr', '3;a\rb\r\nabc\r\n'],
  ['extension-nul', '3;a\0\r\nabc\r\n'],
  ['extension-del', '3;a\x7f\r\nabc\r\n'],
  ['extension-quoted-lf', '3;a="\n"\r\nabc\r\n'],
  ['extension-over-limit', `3;${'x'.repeat(300)}\r\nabc\r\n`],
  ['extension-endless', `3;${'x'.repeat(3000)}`],
].map(([id = '', body = '']) => bad(id, body + end))

const trailers: readonly Case[] = [
  ['trailer-no-colon', 'X\r\n\r\n'],
  ['trailer-space-name', 'X Y: z\r\n\r\n'],
  ['trailer-space-colon', 'X : y\r\n\r\n'],
  ['trailer-folded', 'X: y\r\n z\r\n\r\n'],
  ['trailer-leading-space', ' X: y\r\n\r\n'],
  ['trailer-lf', 'X: y\n\r\n'],
  ['trailer-cr', 'X: y\rz\r\n\r\n'],
  ['trailer-nul', 'X: y\0\r\n\r\n'],
  ['trailer-empty-name', ': y\r\n\r\n'],
  ['trailer-pseudo', ':path: /x\r\n\r\n'],
  ['trailer-content-length', 'Content-Length: 5\r\n\r\n'],
  ['trailer-transfer-encoding', 'Transfer-Encoding: chunked\r\n\r\n'],
  ['trailer-host', 'Host: evil\r\n\r\n'],
  ['trailer-authorization', 'Authorization: Basic eA==\r\n\r\n'],
  ['trailer-cookie', 'Cookie: a=b\r\n\r\n'],
  ['trailer-forwarded', 'X-Forwarded-For: 127.0.0.1\r\n\r\n'],
  ['trailer-forwarded-underscore', 'X_Forwarded_For: 127.0.0.1\r\n\r\n'],
  ['trailer-connection', 'Connection: close\r\n\r\n'],
  ['trailer-expect', 'Expect: 100-continue\r\n\r\n'],
  ['trailer-content-type', 'Content-Type: text/html\r\n\r\n'],
  ['trailer-is-a-request', 'GET /x HTTP/1.1\r\nHost: evil\r\n\r\n'],
].map(([id = '', text = '']) => bad(id, `1\r\na\r\n0\r\n${text}`))

const limits: readonly Case[] = [
  bad('trailer-count-over', `0\r\n${'a: b\r\n'.repeat(17)}\r\n`, 431),
  bad('trailer-bytes-over', `0\r\na: ${'b'.repeat(8192)}\r\n\r\n`, 431),
  bad('trailer-endless', `0\r\na: ${'b'.repeat(20_000)}`, 431),
  bad('framing-overhead', `1;${'x'.repeat(250)}\r\na\r\n`.repeat(100) + end),
]

/** The class. */
export const chunks: readonly Case[] = [
  ...accepted,
  ...sizes,
  ...lineEnds,
  ...extensions,
  ...trailers,
  ...limits,
]
