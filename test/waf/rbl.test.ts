/** Lookups over a real name server on loopback; the questions come as rules put them. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type DnsServer, startDns } from '../harness/dns.ts'
import { until } from '../harness/wait.ts'
import { AddonScanner, compileScanPlan, dropScanPlan, rblPort } from '../../waf/scanner.ts'
import type { ScanPort } from '../../waf/scanner.ts'
import { RblLookups } from '../../proxy/rbl.ts'

type Settings = ConstructorParameters<typeof RblLookups>[0]

const settings: Settings = {
  timeoutMs: 2_000,
  ttlMs: 60_000,
  cacheMax: 100,
  pendingMax: 10,
  resolver: null,
}

let dns: DnsServer
let plan: number
let zone: string
let zones = 0

beforeEach(async () => {
  dns = await startDns()
  // The answers are the process's own, so each test asks another list.
  zones += 1
  zone = `list-${process.pid}-${zones}.example`
  plan = compileScanPlan(planOf(zone))
})

afterEach(() => {
  dropScanPlan(plan)
  dns.close()
})

function planOf(argument: string): string {
  const leaf = { phase: 1, targets: [], transformations: [], operator: 'rbl', negated: false }
  const rest = { argument, entries: [], multiMatch: false, capture: true, dynamic: false }
  return JSON.stringify({
    leaves: [{ ...leaf, ...rest, textOnly: true, source: 'test.conf:1' }],
    limits: { scanBudgetMs: 1_000, argumentsMax: 10, jsonDepthMax: 10, bodyBytesMax: 10 },
    argumentSeparator: '&',
    requestBodyAccess: true,
    responseBodyAccess: false,
  })
}

function unused(): never {
  throw new Error('no exchange is inspected here')
}

const noPort: ScanPort = {
  scan: unused,
  evaluate: unused,
  variable: unused,
  result: unused,
  setBodyProcessor: unused,
  forceBodyVariable: unused,
  bodyAccess: unused,
}
const scanner = new AddonScanner(noPort)

/** What a rule with `@rbl` finds now: group 0, or null. */
function asked(address: string): string | null {
  const hits = scanner.matchText({ plan, leaf: 0, argument: '' }, address)
  return hits[0]?.captures[0] ?? null
}

function lookups(changes: Partial<Settings> = {}): RblLookups {
  return new RblLookups({ ...settings, resolver: dns.address, ...changes })
}

function value(of: RblLookups, name: string, label: string): number {
  const family = of.samples().find((sample) => sample.name === name)
  return (
    family?.values.find(({ labels }) => Object.values(labels)[0] === label)?.value ?? Number.NaN
  )
}

const ended = (of: RblLookups, result: string): number =>
  value(of, 'edge_waf_rbl_lookups_total', result)

test('an address is not listed until its answer is there, then for its time', async () => {
  const rbl = lookups()
  dns.names.set(`1.2.0.192.${zone}`, { addresses: ['127.0.0.2'], ttlSeconds: 60 })
  const v6 = `1.${'0.'.repeat(23)}8.b.d.0.1.0.0.2.${zone}`
  dns.names.set(v6, { addresses: ['127.0.0.4'], ttlSeconds: 60 })
  expect(asked('192.0.2.1')).toBeNull()
  expect(asked('2001:db8::1')).toBeNull()
  expect(asked('192.0.2.9')).toBeNull()
  expect(asked('no address')).toBeNull()
  await until('all are answered', () => ended(rbl, 'listed') + ended(rbl, 'not_listed') === 3)
  expect(asked('192.0.2.1')).toBe('192.0.2.1')
  expect(asked('::ffff:192.0.2.1')).toBe('::ffff:192.0.2.1')
  expect(asked('2001:db8::1')).toBe('2001:db8::1')
  expect(asked('192.0.2.9')).toBeNull()
  expect(dns.asked.toSorted()).toEqual([`1.2.0.192.${zone}`, v6, `9.2.0.192.${zone}`].toSorted())
})

const notListed = [
  ['a name that does not exist', 'no-such-name', 'not_listed'],
  ['a refusal of the list', { addresses: ['127.255.255.254'], ttlSeconds: 9 }, 'not_listed'],
  ['a resolver that finds all', { addresses: ['198.51.100.7'], ttlSeconds: 9 }, 'not_listed'],
  ['a name server that fails', 'server-failure', 'failed'],
  ['a name server that is silent', 'silence', 'timeout'],
] as const

for (const [name, answer, result] of notListed) {
  test(`${name} is not listed, and is not asked again at once`, async () => {
    const rbl = lookups({ timeoutMs: 150 })
    dns.names.set(`1.2.0.192.${zone}`, answer)
    expect(asked('192.0.2.1')).toBeNull()
    await until('it is answered', () => ended(rbl, result) === 1)
    const before = dns.asked.length
    expect(asked('192.0.2.1')).toBeNull()
    expect(rblPort().rblCounts().pending).toBe(0)
    expect(dns.asked).toHaveLength(before)
  })
}

test('an answer holds waf.rbl.ttl at the longest', async () => {
  const rbl = lookups({ ttlMs: 1_000 })
  dns.names.set(`1.2.0.192.${zone}`, { addresses: ['127.0.0.2'], ttlSeconds: 3_600 })
  asked('192.0.2.1')
  await until('it is listed', () => asked('192.0.2.1') !== null)
  dns.names.delete(`1.2.0.192.${zone}`)
  await until('it is asked for again', () => asked('192.0.2.1') === null)
  await until('it is answered', () => ended(rbl, 'not_listed') === 1)
})

test('lookups under way and known answers are bounded', async () => {
  const rbl = lookups({ pendingMax: 2, cacheMax: 1, timeoutMs: 300 })
  const dropped = value(rbl, 'edge_waf_rbl_questions_total', 'dropped')
  for (const last of [1, 2, 3]) {
    dns.names.set(`${last}.2.0.192.${zone}`, 'silence')
    asked(`192.0.2.${last}`)
  }
  expect(value(rbl, 'edge_waf_rbl_names', 'pending')).toBe(2)
  expect(value(rbl, 'edge_waf_rbl_questions_total', 'dropped')).toBe(dropped + 1)
  await until('both end', () => ended(rbl, 'timeout') === 2)
  expect(value(rbl, 'edge_waf_rbl_names', 'known')).toBe(1)
})
