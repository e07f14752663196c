/** Request targets around one guarded path, and what the edge must make of each. */

/** What the oracle expects of a target. */
export type Expectation = { readonly forwarded: string } | { readonly refused: true }

/** Spellings of `/admin`, and of paths that only look like it. */
const starts = [
  '/admin',
  '/Admin',
  '/%61dmin',
  '/%41dmin',
  '/adm%69n',
  '/%61%64%6d%69%6e',
  '/%61%64%6D%69%6E',
  '/%2561dmin',
  '/%25%36%31dmin',
  '//admin',
  '///admin',
  '/./admin',
  '/x/../admin',
  '/x/y/../../admin',
  '/../admin',
  '/%2e/admin',
  '/%2E%2e/admin',
  '/x/%2e%2e/admin',
  '/x/.%2e/admin',
  '/x/..;/admin',
  '/x/..;a=b/admin',
  '/x/%2e%2e;/admin',
  '/.;/admin',
  '/;/admin',
  '/;a=b/admin',
  '/admin;x=y',
  '/admin;',
  '/%2fadmin',
  '/%2Fadmin',
  '/x%2f..%2fadmin',
  '/%5cadmin',
  '/\\admin',
  '/x\\..\\admin',
  '/x%5c..%5cadmin',
  '/%c0%afadmin',
  '/%u002fadmin',
  '/%u0061dmin',
  '/admin%00',
  '/%00/admin',
  '/admin%20',
  '/admin%09',
  '/admin.',
  '/admin%2e',
  '/admin..',
  '/admin%3f',
  '/admin%23',
  '/admin%',
  '/admin%2',
  '/admin%zz',
  '/adm\xefn',
  '/adm%efn',
  '/%EF%BD%81dmin',
  '/administrator',
  '/admi',
  '/a/admin',
  '/admin:80',
  '/@admin',
  '/admin|',
  '/<admin>',
  '/[admin]',
  '/{admin}',
  '/^admin',
  '/`admin',
  '/"admin"',
  '/...',
  '/..a',
  '/.admin',
  '/admin/.hidden',
  '/~admin',
  '/%7eadmin',
  '/admin%2Ephp',
  '/%252e%252e/admin',
  '/admin!',
  "/admin'",
  '/(admin)',
  '/admin*',
  '/admin+',
  '/admin,',
  '/admin=',
  '/$admin',
]

const ends = ['', '/', '//', '/x', '/x%41', '/..', '/./x', '?a=/../b', '?%2f&b', '#f', '/x;y=z']

/** Every start with every end. */
export const targets: readonly string[] = starts.flatMap((start) => ends.map((end) => start + end))

/** Host fields: what is forwarded, or null when it is refused. */
export const hosts: readonly (readonly [string, string | null])[] = [
  ['admin.example', 'admin.example'],
  ['ADMIN.Example', 'admin.example'],
  ['admin.example.', 'admin.example'],
  ['Admin.Example.:80', 'admin.example:80'],
  ['admin.example:80', 'admin.example:80'],
  ['admin.example:443', 'admin.example:443'],
  ['admin.example:65535', 'admin.example:65535'],
  ['xadmin.example', 'xadmin.example'],
  ['admin.example.evil', 'admin.example.evil'],
  ['admin_example', 'admin_example'],
  ['127.0.0.1', '127.0.0.1'],
  ['2130706433', '2130706433'],
  ['[::1]', '[::1]'],
  ['[0:0:0:0:0:0:0:1]:8080', '[::1]:8080'],
  ['[::FFFF:127.0.0.1]', '[::ffff:127.0.0.1]'],
  ['localhost', 'localhost'],
  ['a', 'a'],
  ...[
    '',
    ' ',
    '.',
    '..',
    'admin..example',
    '.admin.example',
    'admin.example..',
    'admin.example:',
    'admin.example:0',
    'admin.example:080',
    'admin.example:65536',
    'admin.example:-1',
    'admin.example:x',
    'admin.example:80:80',
    'evil@admin.example',
    'admin.example@evil',
    'admin.example,evil',
    'admin.example evil',
    'admin.example/evil',
    'admin.example?evil',
    'admin.example#evil',
    'admin.example\\evil',
    'admin%2eexample',
    'admin.example%00',
    'http://admin.example',
    '//admin.example',
    '[admin.example]',
    '[::1',
    '::1]',
    '[::1]]',
    '[::1%25lo]',
    '[::1]evil',
    '[]',
    'admin\xe4.example',
    '"admin.example"',
    '*.example',
    'admin.example;x',
    '{admin}',
    'a'.repeat(256),
  ].map((host) => [host, null] as const),
]

/**
 * A second, slower reading of RFC 3986 §6.2.2 and of the default policy, by whole-string
 * replacements, to hold the addon's single pass to.
 */
export function expectationOf(target: string): Expectation {
  const [whole = '', fragment] = split(target, '#')
  const [path = '', query] = split(whole, '?')
  if (fragment !== undefined || isDoubtful(path) || /[\x80-\xff]/.test(whole))
    return { refused: true }
  return { forwarded: canonical(path) + (query === undefined ? '' : `?${query}`) }
}

function isDoubtful(path: string): boolean {
  if (path.includes('\\') || /%(2f|5c|00)/i.test(path) || /%(?![0-9a-f]{2})/i.test(path))
    return true
  const dots = path.replace(/%2e/gi, '.').split('/')
  return dots.some((segment) => /^\.\.?(;.*)?$/.test(segment))
}

function canonical(path: string): string {
  return path
    .replace(/%([0-9a-f]{2})/gi, (escape, hex: string) => {
      const character = String.fromCodePoint(Number.parseInt(hex, 16))
      return /[A-Za-z0-9._~-]/.test(character) ? character : escape.toUpperCase()
    })
    .replace(/[^A-Za-z0-9._~!$&'()*+,;=:@/%-]/g, (character) => {
      const hex = (character.codePointAt(0) ?? 0).toString(16).toUpperCase()
      return `%${hex.padStart(2, '0')}`
    })
}

function split(text: string, at: string): [string, string | undefined] {
  const index = text.indexOf(at)
  return index === -1 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)]
}
