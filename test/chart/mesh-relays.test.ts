/** Relays of the mesh: what the chart makes of their values, and what it refuses. */
import { beforeAll, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import { rendered } from './generated.ts'
import { render, tool } from './tools.ts'

// The first run builds helm: minutes on a small machine, nothing later.
beforeAll(() => void tool('helm'), 15 * 60_000)

const container = z.object({
  args: z.array(z.string()),
  ports: z.array(z.looseObject({ name: z.string() })),
  securityContext: z.looseObject({ capabilities: z.unknown() }),
})
const agent = z.object({
  kind: z.literal('DaemonSet'),
  metadata: z.object({ name: z.string().endsWith('-mesh-agent') }),
  spec: z.object({
    template: z.object({ spec: z.object({ containers: z.tuple([container]) }) }),
  }),
})

/** What the agents get for relays. */
function agentOf(...sets: readonly string[]): object {
  const flags = ['--set', ['mesh.enabled=true', ...sets].join()]
  const objects = parseAllDocuments(rendered({ name: '', flags, values: '' }))
  const found = objects.flatMap((one) => agent.safeParse(one.toJS()).data ?? [])
  expect(found).toHaveLength(1)
  const [one] = found[0]?.spec.template.spec.containers ?? []
  if (one === undefined) throw new Error('there is no agent')
  const { args, ports, securityContext } = one
  return {
    flags: args.filter((flag, at) => /relay/.test(`${flag} ${args[at - 1] ?? ''}`)),
    ports: ports.filter(({ name }) => name !== 'wireguard'),
    rights: securityContext.capabilities,
  }
}

test('agents relay by UDP, in other ways where ports are named, or not at all', () => {
  const port = (way: string, protocol: string, number: number) => [
    { name: `relay-${way}`, containerPort: number, hostPort: number, protocol },
  ]
  const rights = (...add: string[]) => ({ drop: ['ALL'], add })
  const relay = 'mesh.agent.relay'
  const plain = { ports: [], rights: rights('NET_ADMIN') }
  expect(agentOf()).toEqual({ flags: [], ...plain })
  expect(agentOf(`${relay}.mode=off`)).toEqual({ flags: ['--relay', 'off'], ...plain })
  const both = rights('NET_ADMIN', 'NET_BIND_SERVICE')
  for (const [way, protocol] of [
    ['tcp', 'TCP'],
    ['h3', 'UDP'],
  ] as const) {
    const of = (number: number) => ({
      flags: [`--relay-${way}`, String(number)],
      ports: port(way, protocol, number),
    })
    const high = { ...of(8443), rights: rights('NET_ADMIN') }
    expect(agentOf(`${relay}.${way}Port=8443`)).toEqual(high)
    expect(agentOf(`${relay}.${way}Port=443`)).toEqual({ ...of(443), rights: both })
  }
}, 60_000)

test.for([
  ['mode=off', 'there is no relay that would listen'],
  ['mode=auto,mesh.agent.mode=kernel', "the kernel's WireGuard knows no relays"],
  ['mode=auto,mesh.coordinator.port=443', '443 of the nodes is mesh.coordinator.port already'],
  ['mode=auto,proxy.kind=daemonset', '443 of the nodes is proxy.ports.https already'],
  ['mode=sometimes', "relay/mode': value must be one of 'auto', 'off'"],
  ['h3Port=51820', '51820 of the nodes is mesh.agent.port already'],
  ['h3Port=443,proxy.kind=daemonset', 'h3Port: 443 of the nodes is proxy.ports.https already'],
  ['h3Port=70000', "relay/h3Port': maximum: got 70,000, want 65,535"],
])('a relay is refused with %s', ([set = '', said = '']) => {
  const all = `mesh.enabled=true,mesh.agent.relay.tcpPort=443,mesh.agent.relay.${set}`
  expect(render(['--set', all]).err).toContain(said)
})
