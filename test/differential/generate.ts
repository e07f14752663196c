/** Requests without end, the same for the same seed: benign ones and mutated attacks. */
import type { Draw } from './draw.ts'
import type { Material } from './material.ts'
import { mutate } from './mutate.ts'
import { distort } from './oddities.ts'
import { contentTypeOf } from './request.ts'
import type { BodyKind, Pair, Parts } from './request.ts'

const names = ['q', 'id', 'user', 'file', 'a[b]', 'json.x', 'x-y', 'cmd', 'returnUrl', 'comment']
const paths = ['/', '/index.html', '/a/b/c', '/search', '/api/v1/items/7', '/login.php']
const bodies: readonly BodyKind[] = ['form', 'form', 'multipart', 'json', 'xml', 'text']
const agents = [
  'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0',
  'curl/8.11.0',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15',
]

/** The places where one attack of a request may go. */
type Place = (parts: Parts, attack: string, draw: Draw) => Parts

const token = (text: string): string => text.replaceAll(/[^!#$%&'*+.^_`|~0-9A-Za-z-]/g, '')

const places: readonly Place[] = [
  (parts, attack, draw) => ({ ...parts, query: [...parts.query, [draw.pick(names), attack]] }),
  (parts, attack, draw) => ({ ...parts, query: [[draw.pick(names), attack], ...parts.query] }),
  (parts, attack) => ({ ...parts, query: [...parts.query, [attack, 'x']] }),
  (parts, attack) => ({ ...parts, path: `/${attack}` }),
  (parts, attack) => ({ ...parts, path: `${parts.path}/x/${attack}` }),
  (parts, attack) => ({ ...parts, headers: [...parts.headers, ['Referer', attack]] }),
  (parts, attack) => ({ ...parts, headers: [...parts.headers, ['X-Custom', attack]] }),
  (parts, attack) => ({ ...parts, headers: [...parts.headers, [`X-${token(attack)}`, '1']] }),
  (parts, attack) => ({
    ...parts,
    headers: parts.headers.map(([name, value]) =>
      name === 'User-Agent' ? [name, attack] : [name, value],
    ),
  }),
  (parts, attack) => ({ ...parts, cookies: [...parts.cookies, ['session', attack]] }),
  (parts, attack) => ({ ...parts, cookies: [...parts.cookies, [token(attack), '1']] }),
  inBody((body, attack, draw) => [...body, [draw.pick(names), attack]]),
  inBody((body, attack, draw) => [[draw.pick(names), attack], ...body]),
  inBody((body, attack) => [...body, [attack, 'x']]),
  inBody((_, attack) => [['only', attack]]),
]

/** Needs a body: one is added where there is none. */
function inBody(change: (body: readonly Pair[], attack: string, draw: Draw) => Pair[]): Place {
  return (parts, attack, draw) => {
    const whole = parts.kind === null ? withBody(parts, draw.pick(bodies), [], draw) : parts
    return { ...whole, body: change(whole.body, attack, draw) }
  }
}

function withBody(parts: Parts, kind: BodyKind, body: readonly Pair[], draw: Draw): Parts {
  const method = draw.once(8) ? 'PUT' : 'POST'
  return { ...parts, method, kind, body, contentType: contentTypeOf(kind, draw) }
}

function benignParts(material: Material, draw: Draw): Parts {
  const pair = (): Pair => [draw.pick(names), draw.pick(material.benign)]
  const parts: Parts = {
    method: draw.once(10) ? draw.pick(['HEAD', 'OPTIONS', 'DELETE']) : 'GET',
    path: draw.pick(paths),
    query: draw.several(draw.below(4), pair),
    tail: '',
    cookies: draw.several(draw.below(3), pair).map(([name, value]) => [token(name), value]),
    headers: [
      ['Host', 'www.example.org'],
      ['User-Agent', draw.pick(agents)],
      ['Accept', '*/*'],
      ...(draw.once(3) ? [['Accept-Language', 'de-CH,en;q=0.7'] as const] : []),
    ],
    kind: null,
    contentType: '',
    body: [],
    style: draw.below(12),
  }
  if (draw.once(2)) return parts
  return withBody(parts, draw.pick(bodies), draw.several(1 + draw.below(4), pair), draw)
}

/** One request: a fifth stays benign, the others carry an attack or two. */
export function generate(material: Material, draw: Draw): Parts {
  let parts = benignParts(material, draw)
  if (draw.once(5)) return parts
  if (draw.once(4)) {
    const text = draw.once(2) ? draw.pick(material.attacks) : draw.pick(material.benign)
    return distort(parts, mutate(text, draw), draw)
  }
  for (let count = draw.once(4) ? 2 : 1; count > 0; count -= 1) {
    parts = draw.pick(places)(parts, mutate(draw.pick(material.attacks), draw), draw)
  }
  return parts
}
