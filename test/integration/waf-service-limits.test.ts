/** Bounds of the WAF service, and what it does with connections that do not speak as agreed. */
import { createHmac, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type Socket, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { errorCodes } from '../../proxy/errors.ts'
import { type RunningWafService, startWafService } from '../harness/waf-service.ts'
import { until } from '../harness/wait.ts'

const frameBytesMax = 140_000
const config = `waf:
  rules: null
  service: { inFlightMax: 2, frameMax: ${frameBytesMax}B, stateTimeout: 1s }
limits: { handshakeTimeout: 1s, inspectedBodiesMax: 11MiB }
`
const rules = `SecRuleEngine On
SecRequestBodyAccess On
SecRule ARGS "@contains attack" "id:1,phase:2,deny,status:406"
`
const kinds = {
  ask: 1,
  body: 2,
  end: 5,
  verdict: 16,
  failed: 17,
  hello: 32,
  proof: 33,
  welcome: 34,
}

let folder = ''
let service: RunningWafService

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'edge-waf-limits-'))
  writeFileSync(join(folder, 'edge.yaml'), config)
  writeFileSync(join(folder, 'rules.conf'), rules)
  const flags = ['--config', join(folder, 'edge.yaml'), '--waf-setup', join(folder, 'rules.conf')]
  service = await startWafService(flags)
}, 180_000)

afterAll(async () => {
  expect(await service?.stop()).toBe(0)
  rmSync(folder, { recursive: true })
}, 60_000)

interface Frame {
  readonly kind: number
  readonly id: number
  readonly content: Buffer
}

/** A proxy of few words. */
class RawProxy {
  readonly frames: Frame[] = []
  closed = false
  readonly #socket: Socket
  #bytes = Buffer.alloc(0)

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1')
    this.#socket.on('error', () => undefined)
    this.#socket.on('close', () => (this.closed = true))
    this.#socket.on('data', (bytes: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes])
      while (this.#bytes.length >= 4) {
        const end = 4 + this.#bytes.readUInt32LE(0)
        if (this.#bytes.length < end) return
        const frame = this.#bytes.subarray(4, end)
        this.frames.push({
          kind: frame.readUInt8(0),
          id: frame.readUInt32LE(1),
          content: frame.subarray(5),
        })
        this.#bytes = this.#bytes.subarray(end)
      }
    })
  }

  send(kind: number, id: number, content: Buffer): void {
    const head = Buffer.alloc(9)
    head.writeUInt32LE(5 + content.length)
    head.writeUInt8(kind, 4)
    head.writeUInt32LE(id, 5)
    this.#socket.write(Buffer.concat([head, content]))
  }

  async heard(kind: number, id = 0): Promise<Frame> {
    const find = (): Frame | undefined =>
      this.frames.find((frame) => frame.kind === kind && frame.id === id)
    await until(`a frame ${kind} of ${id}`, () => find() !== undefined)
    const found = find()
    if (found === undefined) throw new Error('it was there')
    return found
  }

  async greet(secret = ''): Promise<void> {
    const { content } = await this.heard(kinds.hello)
    expect(content.toString('latin1', 0, 8)).toBe('EDGEWAF1')
    const [theirs, ours] = [content.subarray(8), randomBytes(32)]
    const proof = (label: string): Buffer =>
      createHmac('sha256', secret).update(label).update(theirs).update(ours).digest()
    this.send(kinds.proof, 0, Buffer.concat([ours, proof('edge waf proxy')]))
    const welcome = await this.heard(kinds.welcome)
    expect(welcome.content.equals(proof('edge waf service'))).toBe(true)
  }

  async ended(): Promise<void> {
    await until('the service ends the connection', () => this.closed)
  }

  close(): void {
    this.#socket.destroy()
  }
}

const opened: RawProxy[] = []
function proxy(): RawProxy {
  const made = new RawProxy(service.port)
  opened.push(made)
  return made
}
afterAll(() => opened.forEach((one) => one.close()))

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
const text = (value: string): Buffer => Buffer.concat([u32(value.length), Buffer.from(value)])

/** A question about a head whose body is still to come. */
function ask(variant: string): Buffer {
  const question = { variant, mode: 'block', requestId: 'r', timeMs: 0, clientAddress: '192.0.2.1' }
  return askWith(JSON.stringify({ ...question, route: '', hasBody: true }))
}

function askWith(question: string): Buffer {
  return Buffer.concat([
    text(question),
    Buffer.from([11, 0]),
    u32(0),
    Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 0]),
    u32(0),
    u32(0),
    Buffer.from([80, 0]),
    text('192.0.2.1:5000'),
    ...['', 'POST', '/', '/', '', 'x.example'].map(text),
    u32(0),
  ])
}

const failure = ({ content }: Frame): string | undefined => errorCodes[content.readUInt16LE(0)]

test('rules that it does not have are refused by name', async () => {
  const one = proxy()
  await one.greet()
  one.send(kinds.ask, 1, ask('others'))
  expect(failure(await one.heard(kinds.failed, 1))).toBe('WAF_RULES_UNKNOWN')
})

test.each(['{', 'null', '{}'])(
  'the question %s is refused, and the next one answered',
  async (bad) => {
    const one = proxy()
    await one.greet()
    one.send(kinds.ask, 1, askWith(bad))
    await one.heard(kinds.failed, 1)
    one.send(kinds.ask, 2, ask(await variant()))
    expect((await one.heard(kinds.verdict, 2)).content.toString()).toContain('needs-body')
  },
)

test('more exchanges than waf.service.inFlightMax are refused, not kept', async () => {
  const one = proxy()
  await one.greet()
  for (const id of [1, 2, 3]) one.send(kinds.ask, id, ask(await variant()))
  expect(failure(await one.heard(kinds.failed, 3))).toBe('WAF_QUEUE_FULL')
  expect((await one.heard(kinds.verdict, 1)).content.toString()).toContain('needs-body')
})

test('an exchange of which nothing is heard ends after waf.service.stateTimeout', async () => {
  const one = proxy()
  await one.greet()
  one.send(kinds.ask, 1, ask(await variant()))
  await one.heard(kinds.verdict, 1)
  expect(failure(await one.heard(kinds.failed, 1))).toBe('WAF_UNAVAILABLE')
})

test('bodies beyond limits.inspectedBodiesMax are refused', async () => {
  const one = proxy()
  await one.greet()
  one.send(kinds.ask, 1, ask(await variant()))
  await one.heard(kinds.verdict, 1)
  const piece = Buffer.concat([Buffer.from([0, 0]), Buffer.alloc(130_000, 97)])
  for (let sent = 0; sent < 12 * 1024 * 1024; sent += piece.length) one.send(kinds.body, 1, piece)
  expect(failure(await one.heard(kinds.failed, 1))).toBe('BODY_BUDGET_EXHAUSTED')
})

type Speak = (one: RawProxy, known: Buffer) => void
const broken: readonly (readonly [string, Speak])[] = [
  ['a frame beyond waf.service.frameMax', (one) => one.send(1, 1, Buffer.alloc(frameBytesMax))],
  ['a question cut short', (one, known) => one.send(kinds.ask, 1, known.subarray(0, 40))],
  ['a number used twice', (one, known) => [1, 1].forEach((id) => one.send(kinds.ask, id, known))],
  ['an unknown kind', (one, known) => [kinds.ask, 99].forEach((kind) => one.send(kind, 1, known))],
]
test.each(broken)('%s ends the connection', async (_, speak) => {
  const one = proxy()
  await one.greet()
  speak(one, ask(await variant()))
  await one.ended()
})

test('who proves nothing, or the wrong thing, is not served', async () => {
  const [silent, wrong] = [proxy(), proxy()]
  await wrong.heard(kinds.hello)
  wrong.send(kinds.proof, 0, randomBytes(64))
  await Promise.all([silent.ended(), wrong.ended()])
  expect(wrong.frames.map(({ kind }) => kind)).toEqual([kinds.hello])
})

/** The name of the service's rules, from the same files. */
async function variant(): Promise<string> {
  const { variantNames } = await import('../../proxy/waf-service/variant.ts')
  const { compileOptionsOf } = await import('../../proxy/compile-options.ts')
  const { ruleSource } = await import('../../proxy/cli/rule-source.ts')
  const flags = { config: join(folder, 'edge.yaml'), 'waf-setup': [join(folder, 'rules.conf')] }
  const { config: read, ruleset } = ruleSource(flags, {})
  return variantNames({ ...compileOptionsOf(read), ...ruleset })[0] ?? ''
}
