import { expect, test } from 'vitest'
import { ConfigError, faultText } from './faults.ts'
import { parseConfig } from './parse.ts'

function parse(upstream: string) {
  const text = `upstreams: [{ name: x, ${upstream} }]\n`
  return parseConfig({
    file: { path: '/etc/edge/edge.yaml', name: 'edge.yaml', text },
    env: {},
    flags: [],
    folder: '/srv',
    processors: 1,
    installedRules: null,
  })
}

const https = 'endpoints: [{ url: "https://h" }]'
const clear = 'endpoints: [{ url: "http://h:1" }]'

// One row: the keys of an upstream, and the one fault as the user reads it, without its place.
const wrong = [
  [
    'endpoints: [{ url: "https://h/a" }]',
    'upstreams[0].endpoints[0].url: "https://h/a" has more than a host and a port',
    'write http://HOST:PORT, https://HOST:PORT or mesh://NODE:PORT, for example ' +
      'http://127.0.0.1:3000',
  ],
  [
    'endpoints: [{ url: "mesh://node-b" }]',
    'upstreams[0].endpoints[0].url: "mesh://node-b" has more or less than a node and a port',
    'write http://HOST:PORT, https://HOST:PORT or mesh://NODE:PORT, for example ' +
      'http://127.0.0.1:3000',
  ],
  [
    'endpoints: [{ url: "mesh://node-b:80" }]',
    'mesh://node-b:80 needs to know where the agent of this node keeps its state',
    'write mesh.stateDir or --mesh-state: the folder of edge mesh up --state',
  ],
  [
    'endpoints: [{ url: "http://h:1", weight: 0 }]',
    'upstreams[0].endpoints[0].weight: 0 is too small',
    'write a whole number from 1 to 100',
  ],
  [
    'endpoints: [{ url: "http://h:1" }, { url: "http://H:1" }]',
    'upstream "x" has the endpoint http://h:1 twice',
    'remove one of them; use weight instead',
  ],
  [
    `${clear}, tls: { caFile: ca.pem }`,
    'upstream "x" has tls settings and no endpoint over https',
    'write https:// in the url of its endpoints',
  ],
  [
    `${https}, tls: { clientKeyFile: key.pem }`,
    'upstream "x" has half a client certificate',
    'write both clientCertFile and clientKeyFile',
  ],
  [
    `${https}, tls: { verify: false, caFile: ca.pem }`,
    'upstream "x" names authorities and does not verify',
    'remove verify: false, or caFile',
  ],
  [
    `${https}, tls: { serverName: "a b" }`,
    'upstreams[0].tls.serverName: "a b" is not a name or an address',
    'write a name without port, for example shop.internal',
  ],
  [
    `${https}, protocol: http3`,
    'upstreams[0].protocol: "http3" is not accepted here',
    'write one of: auto, http1, http2 (did you mean http1?)',
  ],
  [
    `${clear}, balance: hash, hash: { on: "header:a b" }`,
    'upstreams[0].hash.on: "header:a b" is not something to hash',
    'write client-address, path, header:NAME or cookie:NAME',
  ],
  [
    `${clear}, balance: sticky, sticky: { cookie: "a=b" }`,
    'upstreams[0].sticky.cookie: "a=b" is not the name of a cookie',
    'write 1 to 128 letters, digits, dashes or underscores',
  ],
  [
    `${clear}, sticky: { keyFile: key }`,
    'upstream "x" has a sticky key and is not sticky',
    'write balance: sticky',
  ],
  [
    `${clear}, health: { status: 399-200 }`,
    'upstreams[0].health.status: "399-200" is not a range of statuses',
    'write FROM-TO or one status, from 100 to 599, for example 200-399',
  ],
  [
    `${clear}, health: { interval: 10ms }`,
    'upstreams[0].health.interval: "10ms" is too small a duration',
    'write a number with ms, s, m or h, at least 100ms, at most 24h, for example 30s',
  ],
  [
    `${clear}, health: { timeout: 6s }`,
    'health.timeout of upstream "x" is longer than its interval',
    'write at most 5000ms',
  ],
] as const

for (const [upstream, message, mend] of wrong) {
  test(`${upstream}: ${message}`, () => {
    const parsed = parse(upstream)
    const faults = parsed instanceof ConfigError ? parsed.faults.map(faultText) : []
    const places = faults.map((fault) => fault.replace(/^edge\.yaml:1:\d+: /, ''))
    expect(places).toEqual([`${message}\n  mend: ${mend}`])
  })
}

test('an upstream that names only its endpoint has these defaults', () => {
  const parsed = parse(`${https}, health: {}`)
  expect(parsed instanceof ConfigError ? parsed.faults : parsed.config.upstreams[0]).toEqual({
    name: 'x',
    endpoints: [{ url: 'https://h:443', weight: 1, eachAddress: false }],
    protocol: 'auto',
    tls: {
      caFile: null,
      serverName: null,
      verify: true,
      clientCertFile: null,
      clientKeyFile: null,
    },
    balance: 'round-robin',
    hash: { on: { kind: 'client-address' } },
    sticky: { cookie: null, keyFile: null },
    health: {
      path: '/',
      host: null,
      intervalMs: 5_000,
      timeoutMs: 2_000,
      healthyAfter: 2,
      unhealthyAfter: 3,
      status: { from: 200, to: 399 },
    },
    ejection: {
      consecutiveFailures: 5,
      serverErrors: false,
      timeMs: 10_000,
      timeMaxMs: 300_000,
      maxPercent: 50,
    },
    panic: true,
    slowStartMs: 10_000,
    retry: { enabled: true, budgetPercent: 10, budgetMin: 3 },
    resolveIntervalMs: 30_000,
    connectTimeoutMs: 2_000,
    firstByteTimeoutMs: 30_000,
    idleTimeoutMs: 60_000,
  })
})
