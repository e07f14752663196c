/**
 * Requests that nobody would want blocked, made from templates with a fixed seed: what browsers,
 * apps and scripts send all day. Each is the bytes of one HTTP/1.1 request.
 */
import { languages, markdown, people, prose, words } from './sentences.ts'

/** One request of the corpus. */
export interface BenignRequest {
  /** Unique; says which template made it. */
  readonly name: string
  readonly bytes: Buffer
}

/** How many there are of each kind. */
const perKind = 90

/** A small generator of our own (mulberry32), so that every run and machine has the same corpus. */
class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  of<Item>(items: readonly [Item, ...Item[]] | readonly Item[]): Item {
    const item = items[this.below(items.length)]
    if (item === undefined) throw new Error('nothing to choose from')
    return item
  }

  some<Item>(items: readonly Item[], count: number): Item[] {
    return Array.from({ length: count }, () => this.of(items))
  }

  hex(length: number): string {
    return Array.from({ length }, () => this.below(16).toString(16)).join('')
  }
}

const assets = ['js', 'css', 'png', 'woff2', 'svg']
const webkit = 'AppleWebKit/537.36 (KHTML, like Gecko)'
const apple = 'AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0'
const agents = [
  'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${webkit} Chrome/143.0.0.0 Safari/537.36`,
  `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${apple} Safari/605.1.15`,
  `Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) ${apple} Mobile/15E148 Safari/604.1`,
  `Mozilla/5.0 (Linux; Android 16; Pixel 9) ${webkit} Chrome/143.0.0.0 Mobile Safari/537.36`,
]

type Fields = readonly (readonly [string, string])[]
type Template = (dice: Dice, index: number) => { line: string; fields?: Fields; body?: Buffer }

/** `GET /path?query`, or another method. */
function line(method: string, path: string, query: Readonly<Record<string, string>> = {}): string {
  const text = new URLSearchParams(query).toString()
  return `${method} ${path}${text === '' ? '' : `?${text}`}`
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const jsonField: Fields = [['Content-Type', 'application/json']]
const formField: Fields = [['Content-Type', 'application/x-www-form-urlencoded']]
const form = (values: Readonly<Record<string, string>>): Buffer =>
  Buffer.from(new URLSearchParams(values).toString())

function sentence(dice: Dice): string {
  return dice.of(dice.below(3) === 0 ? languages : prose)
}

function paragraphs(dice: Dice): string {
  return dice.some(prose, 3 + dice.below(8)).join(' ') + '\n\n' + dice.some(languages, 2).join(' ')
}

/** XML's own marks, escaped. */
function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

function envelope(article: string, store: number): string {
  const space = 'xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"'
  const call = `<Article>${escaped(article)}</Article><Store>${store}</Store>`
  const body = `<soap:Body><GetStock>${call}</GetStock></soap:Body>`
  return `<?xml version="1.0"?><soap:Envelope ${space}>${body}</soap:Envelope>`
}

interface Part {
  readonly name: string
  readonly content: string | Buffer
  readonly file?: readonly [name: string, type: string]
}

function multipart(boundary: string, parts: readonly Part[]): Buffer {
  const pieces = parts.flatMap(({ name, content, file }) => {
    const fileName = file === undefined ? '' : `; filename="${file[0]}"`
    const type = file === undefined ? '' : `Content-Type: ${file[1]}\r\n`
    const field = `Content-Disposition: form-data; name="${name}"${fileName}`
    const head = `--${boundary}\r\n${field}\r\n${type}\r\n`
    return [Buffer.from(head), Buffer.from(content), Buffer.from('\r\n')]
  })
  return Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)])
}

const templates: Readonly<Record<string, Template>> = {
  page: (dice, index) => ({
    line: line('GET', `/${dice.of(['news', 'shop', 'help', 'about'])}/${index}/`, {
      page: String(1 + dice.below(40)),
      sort: dice.of(['price', 'name', 'newest']),
    }),
  }),
  asset: (dice, index) => ({
    line: line(
      'GET',
      `/static/${dice.hex(8)}/${dice.of(['app', 'main'])}-${index}.${dice.of(assets)}`,
    ),
    fields: [['Referer', 'https://www.example.org/shop/']],
  }),
  search: (dice, index) => ({
    line: line('GET', '/search', {
      q: dice.below(2) === 0 ? dice.of(words) : sentence(dice),
      lang: dice.of(['en', 'de', 'fr', 'pl']),
      from: String(index),
    }),
  }),
  tracking: (dice, index) => ({
    line: line('GET', '/landing', {
      utm_source: dice.of(['newsletter', 'partner-site', 'flyer']),
      utm_medium: 'email',
      utm_campaign: `spring_sale_${index}`,
      gclid: dice.hex(32),
      next: '/account/orders',
    }),
  }),
  cookies: (dice, index) => ({
    line: line('GET', `/account/${index}`),
    fields: [
      [
        'Cookie',
        [
          `session=${dice.hex(32)}`,
          'theme=dark',
          'consent=analytics%3Ano%26ads%3Ano',
          `cart=${index}.2.1`,
          `_ga=GA1.2.${dice.below(1e9)}.17${dice.below(1e8)}`,
          'lang=en-GB',
        ].join('; '),
      ],
    ],
  }),
  login: (dice, index) => {
    const [, , mail] = dice.of(people)
    const password = `Horse-${dice.hex(6)}-battery!${index}`
    return {
      line: line('POST', '/login'),
      fields: formField,
      body: form({ email: mail, password, remember: 'on', csrf: dice.hex(40) }),
    }
  },
  form: (dice, index) => {
    const [first, last, mail] = dice.of(people)
    return {
      line: line('POST', '/contact'),
      fields: formField,
      body: form({
        first,
        last,
        mail,
        phone: `+49 30 ${1_000_000 + index}`,
        subject: dice.of(words),
        message: dice.below(2) === 0 ? sentence(dice) : paragraphs(dice),
      }),
    }
  },
  comment: (dice, index) => ({
    line: line('POST', `/articles/${index}/comments`),
    fields: formField,
    body: form({ text: dice.of(markdown), reply: String(dice.below(900)), notify: 'true' }),
  }),
  json: (dice, index) => {
    const [first, last, mail] = dice.of(people)
    return {
      line: line(dice.of(['POST', 'PUT', 'PATCH']), `/api/v2/customers/${index}`),
      fields: jsonField,
      body: json({
        id: index,
        name: { first, last },
        mail,
        tags: dice.some(words, 3),
        active: dice.below(2) === 0,
        balance: dice.below(100_000) / 100,
        note: sentence(dice),
        address: { street: '14 Mill Lane', city: 'Springfield', zip: '01234', country: null },
      }),
    }
  },
  list: (dice, index) => ({
    line: line('POST', '/api/v2/orders/batch'),
    fields: jsonField,
    body: json(
      Array.from({ length: 1 + dice.below(20) }, (_, item) => ({
        sku: `SKU-${index}-${item}`,
        title: dice.of(words),
        count: 1 + dice.below(9),
        price: `${dice.below(300)}.99`,
      })),
    ),
  }),
  graphql: (dice, index) => ({
    line: line('POST', '/graphql'),
    fields: jsonField,
    body: json({
      operationName: 'Orders',
      query:
        'query Orders($howMany: Int!) { orders(howMany: $howMany) { id total items { title } } }',
      variables: { howMany: 10 + index, after: dice.hex(12) },
    }),
  }),
  upload: (dice, index) => {
    const boundary = `----WebKitFormBoundary${dice.hex(16)}`
    const picture = Buffer.from(dice.hex(200 + dice.below(400)), 'hex')
    const isText = dice.below(2) === 0
    const file: Part = isText
      ? { name: 'file', content: paragraphs(dice), file: [`notes-${index}.txt`, 'text/plain'] }
      : { name: 'file', content: picture, file: [`holiday-${index}.jpg`, 'image/jpeg'] }
    return {
      line: line('POST', '/upload'),
      fields: [['Content-Type', `multipart/form-data; boundary=${boundary}`]],
      body: multipart(boundary, [{ name: 'title', content: dice.of(words) }, file]),
    }
  },
  xml: (dice, index) => ({
    line: line('POST', '/feed/import'),
    fields: [['Content-Type', 'application/xml']],
    body: Buffer.from(
      `<?xml version="1.0" encoding="UTF-8"?>\n<items>${dice
        .some(prose, 3)
        .map((text, item) => `<item id="${index}.${item}"><text>${escaped(text)}</text></item>`)
        .join('')}</items>`,
    ),
  }),
  soap: (dice, index) => ({
    line: line('POST', '/services/stock'),
    fields: [
      ['Content-Type', 'text/xml; charset=utf-8'],
      ['SOAPAction', '"GetStock"'],
    ],
    body: Buffer.from(envelope(dice.of(words), index)),
  }),
  rest: (dice, index) => ({
    line: line(
      dice.of(['GET', 'HEAD', 'OPTIONS', 'DELETE']),
      `/api/v1/items/${index}/parts/${dice.hex(8)}`,
      {
        fields: 'id,title,price',
        'filter[color]': dice.of(['red', 'blue', 'green']),
      },
    ),
    fields: [['Authorization', `Bearer ${dice.hex(24)}.${dice.hex(48)}.${dice.hex(32)}`]],
  }),
  client: (dice, index) => ({
    line: line('GET', `/api/status/${index}`),
    fields: [
      ['If-None-Match', `"${dice.hex(16)}"`],
      ['X-Requested-With', 'XMLHttpRequest'],
      ['Sec-CH-UA', '"Chromium";v="143", "Not A(Brand";v="24"'],
      ['Sec-CH-UA-Platform', '"Linux"'],
    ],
  }),
}

/** Hosts, agents and the rest that every browser sends. */
function common(dice: Dice): Fields {
  return [
    ['Host', 'www.example.org'],
    ['User-Agent', dice.of(agents)],
    ['Accept', 'text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8'],
    ['Accept-Language', dice.of(['en-GB,en;q=0.9', 'de-DE,de;q=0.8,en;q=0.5', 'fr,en;q=0.6'])],
    ['Accept-Encoding', 'gzip, deflate, br'],
  ]
}

/** The whole corpus, always the same. */
export function benignRequests(seed = 20_261_121): BenignRequest[] {
  return Object.entries(templates).flatMap(([kind, template], at) => {
    const dice = new Dice(seed + at)
    return Array.from({ length: perKind }, (_, index) => {
      const { line: first, fields = [], body } = template(dice, index)
      const all = [...common(dice), ...fields]
      // OPTIONS and the like have no body; an empty POST is not among them.
      if (body !== undefined) all.push(['Content-Length', String(body.length)])
      const lines = [`${first} HTTP/1.1`, ...all.map(([name, value]) => `${name}: ${value}`)]
      const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`)
      return { name: `${kind}-${index}`, bytes: Buffer.concat([head, body ?? Buffer.alloc(0)]) }
    })
  })
}
