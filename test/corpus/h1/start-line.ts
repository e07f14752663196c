/** Request lines: words, versions, methods, targets. */
import { type Case, closing, doubted, forwarded, head, refused } from '../case.ts'

const host = 'Host: a'

function line(text: string): string {
  return head(text, host)
}

const words: readonly Case[] = [
  ['two-spaces-target', 'GET  / HTTP/1.1'],
  ['two-spaces-version', 'GET /  HTTP/1.1'],
  ['space-first', ' GET / HTTP/1.1'],
  ['space-last', 'GET / HTTP/1.1 '],
  ['tab-separator', 'GET\t/ HTTP/1.1'],
  ['tab-version', 'GET /\tHTTP/1.1'],
  ['vtab-separator', 'GET\x0b/ HTTP/1.1'],
  ['cr-separator', 'GET\r/ HTTP/1.1'],
  ['no-version', 'GET /'],
  ['no-target', 'GET HTTP/1.1'],
  ['method-only', 'GET'],
  ['four-words', 'GET / / HTTP/1.1'],
  ['empty-target', 'GET  HTTP/1.1'],
  ['version-lower', 'GET / http/1.1'],
  ['version-space', 'GET / HTTP /1.1'],
  ['version-slash', 'GET / HTTP\\1.1'],
  ['version-long', 'GET / HTTP/1.10'],
  ['version-short', 'GET / HTTP/1'],
  ['version-padded', 'GET / HTTP/01.1'],
  ['version-minus', 'GET / HTTP/-1.1'],
  ['version-letter', 'GET / HTTP/1.x'],
  ['version-none', 'GET / HTTP'],
  ['version-other', 'GET / ICAP/1.0'],
  ['version-rtsp', 'DESCRIBE / RTSP/1.0'],
  ['nul-last', 'GET / HTTP/1.1\0'],
  ['bom', '\xef\xbb\xbfGET / HTTP/1.1'],
  ['method-separator', 'GE(T / HTTP/1.1'],
  ['method-colon', 'GET: / HTTP/1.1'],
  ['method-high', 'GE\xffT / HTTP/1.1'],
  ['method-nul', 'GE\0T / HTTP/1.1'],
  ['method-quote', '"GET" / HTTP/1.1'],
  ['field-as-line', 'Host: b'],
  ['response-as-line', 'HTTP/1.1 200 OK'],
  ['tls-hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['proxy-v1', 'PROXY TCP4 1.2.3.4 5.6.7.8 1 2'],
  ['socks', '\x05\x01\x00'],
].map(([id = '', text = '']) => refused(`line-${id}`, line(text)))

const versions: readonly Case[] = [
  ...['0.9', '1.2', '2.0', '3.0', '9.9', '0.0'].map((version) =>
    refused(`version-${version}`, line(`GET / HTTP/${version}`), 505),
  ),
  refused('version-preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505),
  refused('http09', 'GET /\r\n'),
  refused('http09-head', 'GET /\r\nHost: a\r\n\r\n'),
  closing(forwarded('version-1.0', head('GET /g HTTP/1.0', host), { line: 'GET /g' })),
  closing(
    forwarded(
      'version-1.0-no-host',
      head('GET /g HTTP/1.0'),
      { line: 'GET /g', host: '' },
      'RFC 9112 §3.2 asks for Host on 1.1 only; the backend gets an empty one',
    ),
  ),
  forwarded('version-1.0-keep-alive', head('GET /g HTTP/1.0', host, 'Connection: keep-alive'), {
    line: 'GET /g',
    without: ['connection'],
  }),
]

const starts: readonly Case[] = [
  refused('start-crlf', `\r\n${line('GET / HTTP/1.1')}`),
  refused('start-two-crlf', `\r\n\r\n${line('GET / HTTP/1.1')}`),
  refused('start-lf', `\n${line('GET / HTTP/1.1')}`),
  refused('start-cr', `\r${line('GET / HTTP/1.1')}`),
  refused('start-space', ` ${line('GET / HTTP/1.1')}`),
  refused('start-nul', `\0${line('GET / HTTP/1.1')}`),
  refused('lf-lines', 'GET / HTTP/1.1\nHost: a\n\n'),
  refused('lf-first-line', 'GET / HTTP/1.1\nHost: a\r\n\r\n'),
  refused('lf-field', 'GET / HTTP/1.1\r\nHost: a\n\r\n'),
  refused('lf-end', 'GET / HTTP/1.1\r\nHost: a\r\n\n'),
  refused('cr-lines', 'GET / HTTP/1.1\rHost: a\r\r'),
  refused('crcrlf', 'GET / HTTP/1.1\r\r\nHost: a\r\n\r\n'),
  refused('cr-in-line', 'GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n'),
]

const methods: readonly Case[] = [
  ...['HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'REPORT'].map((method) =>
    forwarded(`method-${method}`, line(`${method} /m HTTP/1.1`), { line: `${method} /m` }),
  ),
  ...['get', 'Get', 'TRACE', 'TRACK', 'DEBUG', 'FOO', 'G', "M-SEARCH'", 'HEADER'].map((method) =>
    doubted(`method-${method}`, line(`${method} /m HTTP/1.1`)),
  ),
  refused('connect-authority', line('CONNECT a:80 HTTP/1.1')),
  refused('connect-path', line('CONNECT / HTTP/1.1')),
  refused('connect-url', line('CONNECT http://a/ HTTP/1.1')),
  refused('connect-body', head('CONNECT a:80 HTTP/1.1', host, 'Content-Length: 3') + 'abc'),
  refused('method-long', line(`${'A'.repeat(9000)} / HTTP/1.1`), 414),
]

const targets: readonly Case[] = [
  forwarded('target-options-star', line('OPTIONS * HTTP/1.1'), { line: 'OPTIONS *' }),
  forwarded('target-options-url', line('OPTIONS http://a HTTP/1.1'), { line: 'OPTIONS *' }),
  forwarded('target-absolute', line('GET http://a/x?y HTTP/1.1'), { line: 'GET /x?y' }),
  forwarded('target-absolute-case', line('GET HTTP://A/x HTTP/1.1'), { line: 'GET /x' }),
  forwarded(
    'target-absolute-https',
    line('GET https://a/x HTTP/1.1'),
    { line: 'GET /x' },
    'the scheme is that of the connection; only the host of the URL counts',
  ),
  forwarded(
    'target-absolute-wins',
    line('GET http://b/x HTTP/1.1'),
    { line: 'GET /x', host: 'b' },
    'RFC 9112 §3.2.2: the absolute form replaces Host; the backend sees one host',
  ),
  forwarded('target-absolute-no-path', line('GET http://a?q HTTP/1.1'), { line: 'GET /?q' }),
  forwarded('target-double-slash', line('GET //evil/x HTTP/1.1'), { line: 'GET //evil/x' }),
  forwarded('target-query-raw', line('GET /q?a=/../b&%2f%zz HTTP/1.1'), {
    line: 'GET /q?a=/../b&%2f%zz',
  }),
  forwarded('target-query-empty', line('GET /q? HTTP/1.1'), { line: 'GET /q?' }),
  forwarded('target-escapes', line('GET /%41%7e%2d HTTP/1.1'), { line: 'GET /A~-' }),
  forwarded('target-semicolon', line('GET /a;b=c HTTP/1.1'), { line: 'GET /a;b=c' }),
  forwarded('target-raw-odd', line('GET /<a>|"b" HTTP/1.1'), {
    line: 'GET /%3Ca%3E%7C%22b%22',
  }),
  ...[
    ['star-get', 'GET * HTTP/1.1'],
    ['star-query', 'OPTIONS *?a HTTP/1.1'],
    ['star-path', 'OPTIONS */a HTTP/1.1'],
    ['relative', 'GET a HTTP/1.1'],
    ['dot', 'GET . HTTP/1.1'],
    ['query-only', 'GET ?a HTTP/1.1'],
    ['fragment-only', 'GET #a HTTP/1.1'],
    ['authority', 'GET a:80 HTTP/1.1'],
    ['gopher', 'GET gopher://a/ HTTP/1.1'],
    ['file', 'GET file:///etc/passwd HTTP/1.1'],
    ['ws', 'GET ws://a/ HTTP/1.1'],
    ['no-authority', 'GET http:///x HTTP/1.1'],
    ['one-slash', 'GET http:/a/x HTTP/1.1'],
    ['scheme-only', 'GET http:// HTTP/1.1'],
    ['backslash-first', 'GET \\a HTTP/1.1'],
    ['nul', 'GET /\0 HTTP/1.1'],
    ['control', 'GET /\x01 HTTP/1.1'],
    ['tab', 'GET /a\tb HTTP/1.1'],
    ['del', 'GET /\x7f HTTP/1.1'],
    ['space', 'GET /a b HTTP/1.1'],
  ].map(([id = '', text = '']) => refused(`target-${id}`, line(text))),
  ...[
    ['fragment', 'GET /a#b HTTP/1.1'],
    ['fragment-query', 'GET /a?b#c HTTP/1.1'],
    ['dots', 'GET /a/../b HTTP/1.1'],
    ['dots-encoded', 'GET /a/%2e%2e/b HTTP/1.1'],
    ['dots-parameter', 'GET /a/..;/b HTTP/1.1'],
    ['slash-encoded', 'GET /a%2fb HTTP/1.1'],
    ['backslash', 'GET /a\\b HTTP/1.1'],
    ['backslash-encoded', 'GET /a%5cb HTTP/1.1'],
    ['nul-encoded', 'GET /a%00 HTTP/1.1'],
    ['bad-escape', 'GET /a%zz HTTP/1.1'],
    ['cut-escape', 'GET /a%4 HTTP/1.1'],
    ['percent-u', 'GET /%u002e HTTP/1.1'],
    ['high-byte', 'GET /\xff HTTP/1.1'],
    ['high-byte-query', 'GET /?\xff HTTP/1.1'],
    ['userinfo', 'GET http://u:p@a/ HTTP/1.1'],
    ['bad-port', 'GET http://a:x/ HTTP/1.1'],
    ['absolute-backslash', 'GET http://a\\b/ HTTP/1.1'],
  ].map(([id = '', text = '']) => doubted(`target-${id}`, line(text))),
]

/** The class. */
export const startLine: readonly Case[] = [...words, ...versions, ...starts, ...methods, ...targets]
