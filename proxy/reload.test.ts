import { expect, test } from 'vitest'
import { ConfigError } from './config/faults.ts'
import { readFlags } from './config/flags.ts'
import { parseConfig } from './config/parse.ts'
import { Identities } from './identities.ts'
import type { Loaded } from './load.ts'
import { createLogger } from './log.ts'
import { Reloader } from './reload.ts'
import { prepare } from './snapshot.ts'
import type { LoadedCertificate } from './tls/certificates.ts'

const certificate: LoadedCertificate = {
  chain: 'chain',
  key: 'key',
  names: ['a.example'],
  isDefault: true,
  certFile: 'a.pem',
  notAfterMs: Date.now() + 1e6,
}

function loaded(text: string, certificates: readonly LoadedCertificate[] = []): Loaded {
  const file = { path: '/edge.yaml', name: 'edge.yaml', text: `waf: { mode: off }\n${text}` }
  const parsed = parseConfig({
    file,
    env: {},
    flags: [],
    folder: '/',
    processors: 2,
    installedRules: null,
  })
  if (parsed instanceof ConfigError) throw parsed
  return {
    ...parsed,
    file,
    flags: readFlags([]),
    certificates,
    caFile: null,
    ticketKeys: [],
    upstreamFiles: [],
    files: ['/edge.yaml'],
    rulesCache: null,
  }
}

const to = (port: number): string =>
  `upstreams: [{ name: u, endpoints: [{ url: "http://127.0.0.1:${port}" }] }]\n`

async function reloaderOf(first: Loaded) {
  const identities = new Identities()
  const log = createLogger('info', { write: () => undefined })
  const calls: string[] = []
  const played = {
    calls,
    /** Upstreams whose new names do not resolve. */
    lost: [] as readonly string[],
    next: (): Loaded => first,
    certificatesFail: false,
    generations: (): number[] => swaps,
    reloader: null as unknown as Reloader,
  }
  const swaps: number[] = []
  played.reloader = new Reloader({
    load: async () => played.next(),
    identities,
    given: first.config,
    first: await prepare(first, null, { identities, log }),
    wire: {
      setCertificates: () => {
        if (played.certificatesFail) throw new Error('no such key')
        calls.push('certificates')
      },
      setLimits: () => calls.push('limits'),
      setTicketKeys: (keys) => calls.push(`ticket keys ${keys}`),
    },
    upstreams: {
      prepare: async ({ config }) => {
        const urls = config.upstreams.flatMap(({ endpoints }) => endpoints.map(({ url }) => url))
        calls.push(`prepare ${urls.join()}`)
        return played.lost
      },
      take: () => calls.push('take'),
    },
    supervisor: { swap: ({ generation }) => swaps.push(generation) },
    log,
    onBegin: () => calls.push('begin'),
    onEnd: (files, taken) => calls.push(`end ${files.join()} ${taken === null ? 'kept' : 'taken'}`),
  })
  return played
}

test('a reload is prepared beside what runs, and lives until its last exchange', async () => {
  const played = await reloaderOf(loaded(to(1)))
  played.next = () => loaded(to(2))
  await played.reloader.request('SIGHUP')
  expect(played.calls).toEqual([
    'begin',
    'prepare http://127.0.0.1:2',
    'limits',
    'take',
    'end /edge.yaml taken',
  ])
  expect(played.reloader.generations).toBe(2)
  played.reloader.retire(1)
  played.reloader.retire(2)
  expect(played.reloader.generations).toBe(1)
  expect(played.reloader.state).toMatchObject({ generation: 2, accepted: 1, last: { ok: true } })
})

test('ticket keys are taken over when they changed, and only then', async () => {
  const played = await reloaderOf(loaded(to(1)))
  const told = () => played.calls.filter((call) => call.startsWith('ticket keys'))
  for (const [ticketKeys, expected] of [
    [[], []],
    [['a', 'b'], ['ticket keys {"tickets":["a","b"]}']],
    [['a', 'b'], ['ticket keys {"tickets":["a","b"]}']],
    [[], ['ticket keys {"tickets":["a","b"]}', 'ticket keys {"tickets":[]}']],
  ] as const) {
    played.next = () => ({ ...loaded(to(1)), ticketKeys })
    // oxlint-disable-next-line no-await-in-loop -- one reload after the other
    await played.reloader.request('files')
    expect(told()).toEqual(expected)
  }
})

test('what is wrong or cannot change is refused whole, with place and reason', async () => {
  const played = await reloaderOf(loaded(to(1)))
  const { reloader } = played
  for (const [text, reason] of [
    ['drain: { dely: 1s }\n', 'edge.yaml:2:10: unknown key "dely" in drain'],
    [`${to(2)}listen: { http: "0.0.0.0:81" }\n`, 'listen.http cannot change while'],
    [`${to(2)}wireThreads: 9\n`, 'edge.yaml:3:14: wireThreads cannot change while'],
    ['waf: { mode: off }\n', 'a key is written twice'],
  ] as const) {
    played.next = () => loaded(text)
    // oxlint-disable-next-line no-await-in-loop -- one reload after the other
    await reloader.request('files')
    expect(reloader.state.last?.faults[0]).toContain(reason)
  }
  expect(played.generations()).toEqual([])
  expect(played.calls).not.toContain('limits')
  expect(reloader.state).toMatchObject({ generation: 1, accepted: 0, refused: 4 })
})

test('names that do not resolve never take the place of an upstream that works', async () => {
  const played = await reloaderOf(loaded(to(1)))
  played.next = () => loaded('upstreams: [{ name: u, endpoints: [{ url: "http://h:1" }] }]\n')
  played.lost = ['u']
  await played.reloader.request('files')
  expect(played.reloader.state.last?.faults).toEqual([
    'edge.yaml:2:35: no name of upstream "u" resolves\n' +
      '  mend: correct the names, or mend the resolver and reload',
  ])
  expect(played.calls).not.toContain('take')
  played.lost = []
  await played.reloader.request('files')
  expect(played.reloader.state.last?.ok).toBe(true)
})

test('certificates that do not load change nothing, and are counted', async () => {
  const played = await reloaderOf(loaded(to(1), [certificate]))
  played.next = () => loaded(to(2), [certificate])
  played.certificatesFail = true
  await played.reloader.request('files')
  expect(played.calls).not.toContain('limits')
  expect(played.reloader.state).toMatchObject({ refused: 1, certificateFailures: 1 })
})

test('an expired certificate does not take the place of a valid one', async () => {
  const played = await reloaderOf(loaded(to(1), [certificate]))
  played.next = () => loaded(to(1), [{ ...certificate, notAfterMs: Date.now() - 1 }])
  await played.reloader.request('files')
  expect(played.reloader.state.last?.faults[0]).toContain('a.pem has expired')
  expect(played.reloader.snapshot.generation).toBe(1)
})

test('a storm of requests is one reload and one more', async () => {
  const played = await reloaderOf(loaded(to(1)))
  const { reloader } = played
  await Promise.all(['a', 'b', 'c', 'd'].map((trigger) => reloader.request(trigger)))
  expect(reloader.state).toMatchObject({ accepted: 2, generation: 3, last: { trigger: 'd' } })
})

test('a start with the last good configuration shows as a refusal that was none', async () => {
  const { reloader } = await reloaderOf(loaded(to(1)))
  reloader.startedWithout(['edge.yaml:1:1: broken'])
  expect(reloader.state).toMatchObject({ refused: 0, last: { ok: false, trigger: 'start' } })
})
