/**
 * Ten requests that the CRS stops, each for another reason and where another variable is read; and
 * for each what must stay stopped once exactly it was excluded.
 */

/** One request as a client sends it. */
export interface Sent {
  readonly method: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** A request that is stopped, the rules that an exclusion names, and its neighbours. */
export interface Block {
  readonly name: string
  readonly sent: Sent
  /** In the order in which they matched. */
  readonly rules: readonly number[]
  /** Nearly the same requests that the exclusion must not let pass. */
  readonly neighbours: readonly Sent[]
}

const sqli = "1' OR '1'='1-- "
const xss = '<script>alert(1)</script>'
const query = (text: string): string => encodeURIComponent(text)
const form = { 'content-type': 'application/x-www-form-urlencoded' }
const json = { 'content-type': 'application/json' }
const xml = { 'content-type': 'text/xml' }
const multipart = { 'content-type': 'multipart/form-data; boundary=x' }

function part(name: string, filename: string): string {
  const head = `Content-Disposition: form-data; name="${name}"; filename="${filename}"`
  return `--x\r\n${head}\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--\r\n`
}

/** What the backend is to answer: a database's error message. */
function leak(text: string): string {
  return JSON.stringify({ body: text })
}

const mysql =
  'You have an error in your SQL syntax; check the manual that corresponds to your MySQL'

/** The paths of some are those that most cases of the regression set ask for. */
export const blocks: readonly Block[] = [
  {
    name: 'SQL injection in an argument',
    sent: { method: 'GET', path: `/get?explained=${query(sqli)}` },
    rules: [942_100],
    neighbours: [
      { method: 'GET', path: `/get?other=${query(sqli)}` },
      { method: 'GET', path: `/other?explained=${query(sqli)}` },
      { method: 'GET', path: `/get/?explained=${query(sqli)}` },
      { method: 'GET', path: `/get?explained=${query(xss)}` },
      { method: 'POST', path: '/get', headers: form, body: `explained=${query(sqli)}` },
    ],
  },
  {
    name: 'script in a header',
    sent: { method: 'GET', path: '/explained/header', headers: { 'user-agent': xss } },
    rules: [941_100, 941_110, 941_160],
    neighbours: [
      { method: 'GET', path: '/get', headers: { 'user-agent': xss } },
      { method: 'GET', path: `/explained/header?q=${query(xss)}` },
      { method: 'GET', path: '/explained/header', headers: { 'user-agent': 'nikto' } },
    ],
  },
  {
    name: 'a command in a cookie',
    sent: { method: 'GET', path: '/get', headers: { cookie: 'explained=$(cat /etc/passwd)' } },
    rules: [930_120, 932_130, 932_160],
    neighbours: [
      { method: 'GET', path: '/get', headers: { cookie: 'other=$(cat /etc/passwd)' } },
      { method: 'GET', path: '/other', headers: { cookie: 'explained=$(cat /etc/passwd)' } },
      { method: 'GET', path: `/get?explained=${query('$(cat /etc/passwd)')}` },
    ],
  },
  {
    name: 'a restricted file in the path',
    sent: { method: 'GET', path: '/explained/.git/config' },
    rules: [930_130],
    neighbours: [
      { method: 'GET', path: '/explained/.git/config/.htaccess' },
      { method: 'GET', path: '/explained/.htaccess' },
      { method: 'GET', path: `/explained/.git/config?q=${query('../../etc/passwd')}` },
    ],
  },
  {
    name: 'a method that is not allowed',
    sent: { method: 'PUT', path: '/explained/method', body: 'hello', headers: form },
    rules: [911_100],
    neighbours: [
      { method: 'DELETE', path: '/explained/method' },
      { method: 'PUT', path: '/explained/other', body: 'hello', headers: form },
      { method: 'PUT', path: '/explained/method', body: `q=${query(xss)}`, headers: form },
    ],
  },
  {
    name: 'a script among uploaded files',
    sent: { method: 'POST', path: '/post', headers: multipart, body: part('explained', 'x.php') },
    rules: [933_110],
    neighbours: [
      { method: 'POST', path: '/post', headers: multipart, body: part('other', 'x.php') },
      { method: 'POST', path: '/other', headers: multipart, body: part('explained', 'x.php') },
    ],
  },
  {
    name: 'script in a JSON value',
    sent: { method: 'POST', path: '/post', headers: json, body: `{"explained":{"a b":"${xss}"}}` },
    rules: [941_100, 941_110, 941_160, 941_390],
    neighbours: [
      { method: 'POST', path: '/post', headers: json, body: `{"explained":{"a":"${xss}"}}` },
      { method: 'POST', path: '/post', headers: json, body: `{"explained":{"a b":"${sqli}"}}` },
    ],
  },
  {
    name: 'SQL injection in the text of XML',
    sent: { method: 'POST', path: '/explained/xml', headers: xml, body: `<a>${sqli}</a>` },
    rules: [942_100],
    neighbours: [
      { method: 'POST', path: '/explained/xml', headers: form, body: `a=${query(sqli)}` },
      { method: 'POST', path: '/post', headers: xml, body: `<a>${sqli}</a>` },
    ],
  },
  {
    name: "a database's error message in the response",
    sent: { method: 'POST', path: '/reflect/explained', headers: json, body: leak(mysql) },
    rules: [951_230],
    neighbours: [
      { method: 'POST', path: '/reflect', headers: json, body: leak(mysql) },
      {
        method: 'POST',
        path: '/reflect/explained',
        headers: json,
        body: leak('ORA-01756: quoted string not properly terminated'),
      },
    ],
  },
  {
    name: 'the user agent of a scanner',
    sent: { method: 'GET', path: '/explained/scanner', headers: { 'user-agent': 'nikto' } },
    rules: [913_100],
    neighbours: [
      { method: 'GET', path: '/get', headers: { 'user-agent': 'nikto' } },
      { method: 'POST', path: '/explained/scanner', headers: { 'user-agent': 'nikto', ...form } },
      { method: 'GET', path: '/explained/scanner', headers: { 'user-agent': xss } },
    ],
  },
]
