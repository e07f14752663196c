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
  ports: z.array(z.looseObject({ protocol: z.string() })),
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
    tcp: ports.filter(({ protocol }) => protocol === 'TCP'),
    rights: securityContext.capabilities,
  }
}

test('agents relay by UDP, by TCP where a port is named, and not at all where it says so', () => {
  const port = (number: number) => [
    { name: 'relay-tcp', containerPort: number, hostPort: number, protocol: 'TCP' },
  ]
  const rights = (...add: string[]) => ({ drop: ['ALL'], add })
  const relay = 'mesh.agent.relay'
  const plain = { tcp: [], rights: rights('NET_ADMIN') }
  expect(agentOf()).toEqual({ flags: [], ...plain })
  expect(agentOf(`${relay}.mode=off`)).toEqual({ flags: ['--relay', 'off'], ...plain })
  const high = { flags: ['--relay-tcp', '8443'], tcp: port(8443), rights: rights('NET_ADMIN') }
  expect(agentOf(`${relay}.tcpPort=8443`)).toEqual(high)
  const both = rights('NET_ADMIN', 'NET_BIND_SERVICE')
  const low = { flags: ['--relay-tcp', '443'], tcp: port(443), rights: both }
  expect(agentOf(`${relay}.tcpPort=443`)).toEqual(low)
}, 60_000)

test.for([
  ['mode=off', 'there is no relay that would listen'],
  ['mode=auto,mesh.agent.mode=kernel', "the kernel's WireGuard knows no relays"],
  ['mode=auto,mesh.coordinator.port=443', '443 of the nodes is mesh.coordinator.port already'],
  ['mode=auto,proxy.kind=daemonset', '443 of the nodes is proxy.ports.https already'],
  ['mode=sometimes', "relay/mode': value must be one of 'auto', 'off'"],
])('a relay by TCP is refused with %s', ([set = '', said = '']) => {
  const all = `mesh.enabled=true,mesh.agent.relay.tcpPort=443,mesh.agent.relay.${set}`
  expect(render(['--set', all]).err).toContain(said)
})
