import { expect, test } from 'vitest'
import { ConfigError, faultText } from './faults.ts'
import { readFlags } from './flags.ts'
import { type ParsedConfig, parseConfig, type Sources } from './parse.ts'
import { printConfig } from './print.ts'

function sources(text: string | null, more: Partial<Sources> = {}): Sources {
  return {
    file: text === null ? null : { path: '/etc/edge/edge.yaml', name: 'edge.yaml', text },
    env: {},
    flags: [],
    folder: '/srv',
    processors: 2,
    installedRules: null,
    ...more,
  }
}

function valid(text: string | null, more: Partial<Sources> = {}): ParsedConfig {
  const parsed = parseConfig(sources(text, more))
  if (parsed instanceof ConfigError) throw parsed
  return parsed
}

function faults(text: string | null, more: Partial<Sources> = {}): string[] {
  const parsed = parseConfig(sources(text, more))
  return parsed instanceof ConfigError ? parsed.faults.map(faultText) : []
}

// One row: the file, and every fault as the user reads it.
const wrong: readonly (readonly [name: string, file: string, ...expected: string[]])[] = [
  [
    'an unknown section',
    'lisen:\n  http: 0.0.0.0:80\n',
    'edge.yaml:1:1: unknown key "lisen"\n  mend: did you mean "listen"?',
  ],
  [
    'an unknown key without a near one',
    'drain:\n  xyzzy: 1\n',
    'edge.yaml:2:3: unknown key "xyzzy" in drain\n' +
      '  mend: the keys here are mode, delay, timeout, idleGrace',
  ],
  [
    'a key written twice',
    'status: null\nstatus: 127.0.0.1:9000\n',
    'edge.yaml:2:1: a key is written twice\n  mend: keep one of the two',
  ],
  [
    'a word that is none of the choices',
    'waf:\n  mode: blok\n',
    'edge.yaml:2:9: waf.mode: "blok" is not accepted here\n' +
      '  mend: write one of: block, detect, off (did you mean block?)',
  ],
  [
    'a duration without a known unit',
    'drain: { timeout: 25 years }\n',
    'edge.yaml:1:19: drain.timeout: "25 years" is not a duration\n' +
      '  mend: write a number with ms, s, m or h, at most 24h, for example 30s',
  ],
  [
    'a size of another kind',
    'limits:\n  headerMax: [1]\n',
    'edge.yaml:2:14: limits.headerMax: [1] is not accepted here\n' +
      '  mend: write a number with B, KiB, MiB or GiB, for example 10MiB',
  ],
  [
    'a port beyond the range',
    'listen:\n  http: 0.0.0.0:70000\n',
    'edge.yaml:2:9: listen.http: "0.0.0.0:70000" is not an address with a port (0 to 65535)\n' +
      '  mend: write ADDRESS:PORT with an IP address, for example 0.0.0.0:8443',
  ],
  [
    'a number out of bounds',
    'waf:\n  paranoia: 5\n',
    'edge.yaml:2:13: waf.paranoia: 5 is too large\n  mend: write a whole number from 1 to 4',
  ],
  [
    'a broken CIDR',
    'trustedProxies:\n  - 10.0.0.0/8\n  - 10.0.0.0/33\n',
    'edge.yaml:3:5: trustedProxies[1]: "10.0.0.0/33" is not an address range\n' +
      '  mend: write a CIDR such as 10.0.0.0/8 or 2001:db8::/32',
  ],
  [
    'a route to an unknown upstream',
    'upstreams:\n  - name: shop\n    endpoints: [{ url: http://127.0.0.1:1 }]\n' +
      'routes:\n  - { name: a, upstream: shpo }\n',
    'edge.yaml:5:26: there is no upstream "shpo"\n  mend: did you mean "shop"?',
  ],
  [
    'a service that is no address',
    'waf: { service: { endpoints: [edge-waf] } }\n',
    'edge.yaml:1:31: waf.service.endpoints[0]: "edge-waf" is no HOST:PORT\n' +
      '  mend: write a name or address and a port, for example edge-waf:9001',
  ],
  [
    'a deadline that no inspection can keep',
    'waf: { service: { endpoints: [a:1], timeout: 250ms } }\n',
    'edge.yaml:1:46: waf.service.timeout is not longer than waf.budget: verdicts would come too ' +
      'late\n  mend: write more than 250ms',
  ],
  [
    'frames without room for a head',
    'waf: { service: { frameMax: 64KiB } }\n',
    'edge.yaml:1:29: waf.service.frameMax has no room for the longest head\n' +
      '  mend: write at least 131072B',
  ],
  [
    'two equal routes',
    'routes:\n  - { name: a, upstream: default, hosts: [x.org] }\n' +
      '  - { name: b, upstream: default, hosts: [X.org] }\n',
    'edge.yaml:3:5: routes "a" and "b" both match x.org and /\n' +
      '  mend: change the hosts or the path of one of them',
  ],
  [
    'two upstreams of one name',
    'routes: [{ name: a, upstream: x }]\nupstreams:\n' +
      '  - { name: x, endpoints: [{ url: http://h:1 }] }\n' +
      '  - { name: x, endpoints: [{ url: http://h:2 }] }\n',
    'edge.yaml:4:13: two upstreams are called "x"\n  mend: rename one of them',
  ],
  [
    'a certificate without key',
    'tls:\n  certificates:\n    - certFile: a.pem\n',
    'edge.yaml:3:7: tls.certificates[0].keyFile is missing\n' +
      '  mend: add keyFile: PEM file: the private key',
  ],
  [
    'an upstream of another protocol',
    'upstreams: [{ name: x, endpoints: [{ url: "ftp://h" }] }]\n',
    'edge.yaml:1:43: upstreams[0].endpoints[0].url: "ftp://h" is not an http, https or mesh URL\n' +
      '  mend: write http://HOST:PORT, https://HOST:PORT or mesh://NODE:PORT, for example ' +
      'http://127.0.0.1:3000',
  ],
  [
    'an open admin API',
    'admin: 0.0.0.0:9100\n',
    'edge.yaml:1:8: admin: "0.0.0.0:9100" is not a loopback address\n' +
      '  mend: write 127.0.0.1:PORT, [::1]:PORT or unix:/path/to/socket',
  ],
  [
    'two listeners on one port',
    'listen: { http: :8443, https: 127.0.0.1:8443 }\n',
    'edge.yaml:1:31: listen.https and listen.http both use 127.0.0.1:8443\n' +
      '  mend: give one of them another port',
  ],
  [
    'no listener at all',
    'listen: { http: null, https: null }\n',
    'edge.yaml:1:17: there is no listener\n' +
      '  mend: give listen.http or listen.https an address',
  ],
  [
    'neighbours at every address',
    'quic: { neighbours: { listen: ":8444" } }\n',
    'default: quic.neighbours.listen is every address: others do not know which one\n' +
      '  mend: write the address that they reach',
  ],
  [
    'neighbours at no address',
    'quic: { neighbours: { meet: "edge:8444", address: here } }\n',
    'edge.yaml:1:51: quic.neighbours.address: "here" is no IP address\n' +
      '  mend: write an IP address without a port, for example 10.0.0.5',
  ],
  [
    'neighbours that are met and not heard',
    'quic: { neighbours: { meet: "edge:8444" } }\n',
    'default: quic.neighbours.meet leads to neighbours, and none is listened to\n' +
      '  mend: write ADDRESS:PORT, or remove meet',
  ],
  [
    'a worker that may not think',
    'waf: { budget: 5s }\n',
    'default: waf.workerSilence is not longer than waf.budget: workers at work would be lost\n' +
      '  mend: write more than 5000ms',
  ],
  [
    'a list where a section belongs',
    'log:\n  - info\n',
    'edge.yaml:2:3: log: ["info"] is not accepted here\n' +
      '  mend: write a section with the keys level, access',
  ],
  [
    'no YAML',
    'listen:\n  http: "x\n',
    'edge.yaml:3:1: missing closing "quote\n' +
      '  mend: correct the YAML here; a colon after a key needs a space',
  ],
  [
    'several faults of all kinds, all together',
    'waf: { mode: on }\nlog: { lvl: info }\nadmin: 7\n',
    'edge.yaml:1:14: waf.mode: "on" is not accepted here\n' +
      '  mend: write one of: block, detect, off',
    'edge.yaml:2:8: unknown key "lvl" in log\n  mend: did you mean "level"?',
    'edge.yaml:3:8: admin: 7 is not accepted here\n' +
      '  mend: write 127.0.0.1:PORT, [::1]:PORT or unix:/path/to/socket',
  ],
]
for (const [name, file, ...expected] of wrong)
  test(`reports ${name} with place and mend`, () =>
    expect(faults(file).toSorted()).toEqual(expected.toSorted()))

test('an empty file, a section without keys and no file are the defaults', () => {
  for (const text of ['', 'limits:\nroutes:\n', null]) {
    const { config } = valid(text)
    expect(config.listen).toEqual({
      http: '0.0.0.0:80',
      https: '0.0.0.0:443',
      advertiseHttpsPort: null,
      redirect: true,
      shared: false,
    })
    expect(config.limits.headerBytesMax).toBe(32_768)
    expect(config.drain).toEqual({
      mode: 'withdraw',
      delayMs: 0,
      timeoutMs: 25_000,
      idleGraceMs: 1_000,
    })
    expect(config.routes.map(({ name, upstream }) => [name, upstream])).toEqual([
      ['default', 'default'],
    ])
    expect(config.waf.workers).toBe(2)
  }
})

test('flags win over the environment, which wins over the file', () => {
  const text = 'waf: { mode: detect, paranoia: 1, budget: 2s }\n'
  const env = { EDGE_WAF_PARANOIA: '2', WAF_TIMEOUT_MS: '700' }
  const { flags } = { flags: readFlags(['--paranoia', '3']).settings }
  const { config, origins } = valid(text, { env, flags })
  expect(config.waf).toMatchObject({ mode: 'detect', paranoia: 3, budgetMs: 700 })
  expect(origins.get(['waf', 'mode'])).toBe('edge.yaml:1:14')
  expect(origins.get(['waf', 'paranoia'])).toBe('--paranoia')
  expect(origins.get(['waf', 'budget'])).toBe('env WAF_TIMEOUT_MS')
  expect(origins.get(['waf', 'workers'])).toBe('default')
})

test("seed 001's environment is understood, and WAF_HOST is said to do nothing", () => {
  const { config, notices } = valid(null, {
    installedRules: '/rules',
    env: {
      BACKEND_HOST: 'app.local',
      BACKEND_PORT: '3000',
      HTTP_PORT: '8080',
      HTTPS_PORT: '8443',
      TLS_CERT_FILE: '/c.pem',
      TLS_KEY_FILE: '/k.pem',
      WAF_ENABLED: 'false',
      WAF_TIMEOUT_MS: '1500',
      WAF_HOST: 'waf',
    },
  })
  expect(config.upstreams[0]?.endpoints).toMatchObject([{ url: 'http://app.local:3000' }])
  expect([config.listen.http, config.listen.https]).toEqual(['0.0.0.0:8080', '0.0.0.0:8443'])
  expect(config.tls.certificates).toEqual([{ certFile: '/c.pem', keyFile: '/k.pem' }])
  expect(config.waf).toMatchObject({ mode: 'off', budgetMs: 1500, rules: '/rules' })
  expect(config.routes[0]?.waf.mode).toBe('off')
  expect(notices).toEqual(['env WAF_HOST has no effect: the WAF is built in'])
})

test('faults of flags and environment name them', () => {
  const flags = readFlags(['--cert', 'a.pem', '--waf', 'maybe']).settings
  expect(faults(null, { flags, env: { HTTP_PORT: 'http', WAF_ENABLED: 'yes' } })).toEqual([
    '--cert: tls.certificates[0].keyFile is missing\n  mend: give --cert and --key together',
    '--waf: waf.mode: "maybe" is not accepted here\n  mend: write one of: block, detect, off',
    'env HTTP_PORT: listen.http: "http" is not an address with a port (0 to 65535)\n' +
      '  mend: write ADDRESS:PORT with an IP address, for example 0.0.0.0:8443',
    'env WAF_ENABLED: "yes" is neither true nor false\n  mend: write true or false',
  ])
})

test('relative paths belong to the place they were written in', () => {
  const text = 'waf: { rules: crs, setupFiles: [a.conf] }\nadmin: unix:run/admin.sock\n'
  const flags = readFlags(['--waf-setup', 'b.conf']).settings
  const { config } = valid(text, { flags })
  expect(config.waf.rules).toBe('/etc/edge/crs')
  expect(config.waf.setupFiles).toEqual(['/srv/b.conf'])
  expect(config.admin).toBe('unix:/etc/edge/run/admin.sock')
})

test('an unknown EDGE_ variable is a notice with the near name', () => {
  const env = { EDGE_WAF_MODES: 'off', EDGE_TEST_HOOKS: '1' }
  const { config, notices } = valid(null, { env, installedRules: '/rules' })
  expect(notices).toEqual([
    'env EDGE_WAF_MODES is not a setting and has no effect (did you mean EDGE_WAF_MODE?)',
  ])
  expect(config.testHooks).toBe(true)
})

test('the configuration is deeply frozen', () => {
  const { config } = valid(null)
  expect(Object.isFrozen(config.routes[0]?.hosts)).toBe(true)
  expect(Object.isFrozen(config.policy.refuse)).toBe(true)
})

test('the printed configuration shows origins and is itself valid', () => {
  const first = valid('drain: { delay: 5s }\n', { flags: readFlags(['--http', ':8080']).settings })
  const text = printConfig(first)
  expect(text).toContain('http: :8080 # --http')
  expect(text).toContain('delay: 5s # edge.yaml:1:17')
  expect(text).toContain('timeout: 25s # default')
  expect(valid(text).config).toEqual(first.config)
})

test('a route keeps its own WAF mode when the global one is set elsewhere', () => {
  const text = 'routes: [{ name: a, upstream: default, waf: { mode: detect } }]\n'
  const { config } = valid(text, { flags: readFlags(['--waf', 'off']).settings })
  expect(config.routes[0]?.waf.mode).toBe('detect')
})

test('an unknown flag is a usage error with the near one', () => {
  expect(() => readFlags(['--bakend', 'x'])).toThrow(
    'unknown flag --bakend; did you mean --backend?',
  )
  expect(() => readFlags(['extra'])).toThrow("Unexpected argument 'extra'")
})
