/** `@rbl` and `@geoLookup` through the real program, over a name server and a database of ours. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startBackend, type Backend } from '../harness/backend.ts'
import { type DnsServer, startDns } from '../harness/dns.ts'
import { logFrom, startEdge, type RunningEdge } from '../harness/edge.ts'
import { mmdb } from '../harness/mmdb.ts'
import { metric, until } from '../harness/wait.ts'

const places = mmdb([
  [
    '192.0.2.0/24',
    {
      city: { names: { en: 'Bern' } },
      continent: { code: 'EU', names: { en: 'Europe' } },
      country: { iso_code: 'CH', names: { en: 'Switzerland' } },
      location: { latitude: 46.9481, longitude: 7.4474 },
      postal: { code: '3000' },
      subdivisions: [{ iso_code: 'BE' }],
    },
  ],
  ['198.51.100.0/25', { country: { iso_code: 'AQ' } }],
])

const rules = `
SecRule REQUEST_HEADERS:x-list "@streq on" "id:1,phase:1,deny,status:403,nolog,chain"
  SecRule REMOTE_ADDR "@rbl bad.example" ""
SecRule REQUEST_HEADERS:x-address "@geoLookup" "id:2,phase:1,pass,log,\\
  logdata:'%{geo.country_code} %{geo.country_name} %{geo.country_continent} %{geo.region} \\
%{geo.city} %{geo.postal_code} %{geo.latitude} %{geo.longitude}'"
SecRule GEO:COUNTRY_CODE "@streq AQ" "id:3,phase:1,deny,status:451,nolog"
SecRule REQUEST_HEADERS:x-address "!@geoLookup" "id:4,phase:1,deny,status:406,nolog"
`

let folder: string
let backend: Backend
let dns: DnsServer
let edge: RunningEdge

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'edge-lookups-'))
  writeFileSync(join(folder, 'rules.conf'), rules)
  writeFileSync(join(folder, 'places.mmdb'), places)
  dns = await startDns()
  const rbl = { resolver: dns.address, ttl: '1s', timeout: '1h' }
  const waf = { setupFiles: ['rules.conf'], geoDatabase: 'places.mmdb', rbl }
  writeFileSync(join(folder, 'edge.yaml'), JSON.stringify({ waf }))
  backend = await startBackend()
  const config = ['--config', join(folder, 'edge.yaml'), '--backend', backend.url]
  edge = await startEdge({ arguments: [...config, '--no-redirect', '--workers', '2'] })
}, 120_000)

afterAll(async () => {
  await edge.stop()
  backend.close()
  dns.close()
  rmSync(folder, { recursive: true })
})

async function status(headers: Readonly<Record<string, string>>): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${edge.httpPort}/`, { headers })
  await answer.arrayBuffer()
  return answer.status
}

test('the first request passes, and those after the answer of the list are refused', async () => {
  dns.names.set('1.0.0.127.bad.example', { addresses: ['127.0.0.2'], ttlSeconds: 300 })
  expect(await status({})).toBe(200)
  expect(dns.asked).toEqual([])
  expect(await status({ 'x-list': 'on' })).toBe(200)
  await until('it is listed', async () => (await status({ 'x-list': 'on' })) === 403)
  expect(await metric(edge.statusPort, 'edge_waf_rbl_lookups_total{result="listed"}')).toBe(1)
  dns.names.delete('1.0.0.127.bad.example')
  await until('it is not any more', async () => (await status({ 'x-list': 'on' })) === 200)
})

test('a name server that says nothing costs no request its time', async () => {
  dns.names.set('1.0.0.127.bad.example', 'silence')
  const before = dns.asked.length
  const sent = Array.from({ length: 20 }, () => status({ 'x-list': 'on' }))
  expect(new Set(await Promise.all(sent))).toEqual(new Set([200]))
  await until('it is asked', async () => {
    expect(await status({ 'x-list': 'on' })).toBe(200)
    return dns.asked.length > before
  })
  // All of them are answered, and the lookup goes on for its hour.
  expect(await metric(edge.statusPort, 'edge_waf_rbl_names{state="pending"}')).toBe(1)
})

test('a place is found, and GEO has its members', async () => {
  const begin = logFrom(edge.wafLog, 0).length
  expect(await status({ 'x-address': '192.0.2.77' })).toBe(200)
  const data = 'CH Switzerland EU BE Bern 3000 46.948100 7.447400'
  await until('it is logged', () => logFrom(edge.wafLog, begin).includes(data))
  expect(await status({ 'x-address': '198.51.100.5' })).toBe(451)
  expect(await status({ 'x-address': '198.51.100.200' })).toBe(406)
  expect(await status({ 'x-address': '2001:db8::1' })).toBe(406)
  expect(await status({ 'x-address': 'nowhere' })).toBe(406)
})
