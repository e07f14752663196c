/** Which addresses a Service should show, as a table and as properties. */
import { isIP } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { desiredIngress, isOurs, isSame } from './node-addresses.ts'
import type { EndpointSlice, Ingress, Node, Service } from './objects.ts'

const meta = (name: string, labels: Record<string, string> = {}) => ({
  name,
  labels,
  resourceVersion: '1',
})

interface NodeFacts {
  readonly ready?: 'True' | 'False' | 'Unknown'
  readonly labels?: Record<string, string>
  readonly addresses?: readonly (readonly [type: string, address: string])[]
}

function node(name: string, facts: NodeFacts = {}): Node {
  const addresses = facts.addresses ?? [['InternalIP', `10.0.0.${name.slice(1)}`]]
  return {
    metadata: meta(name, facts.labels),
    status: {
      conditions: [{ type: 'Ready', status: facts.ready ?? 'True' }],
      addresses: addresses.map(([type, address]) => ({ type, address })),
    },
  }
}

type Conditions = NonNullable<NonNullable<EndpointSlice['endpoints']>[number]['conditions']>

const ready: Conditions = { ready: true, serving: true, terminating: false }
const ending: Conditions = { ready: false, serving: true, terminating: true }
const ended: Conditions = { ready: false, serving: false, terminating: true }
const starting: Conditions = { ready: false, serving: false, terminating: false }

function slice(...pods: readonly (readonly [string, Conditions])[]): EndpointSlice {
  return {
    metadata: meta('slice'),
    endpoints: pods.map(([nodeName, conditions]) => ({ nodeName, conditions })),
  }
}

function service(facts: { families?: string[]; shows?: readonly string[] } = {}): Service {
  const ingress = (facts.shows ?? []).map((ip) => ({ ip, ipMode: 'VIP' }))
  return {
    metadata: meta('edge'),
    spec: {
      type: 'LoadBalancer',
      loadBalancerClass: 'x/y',
      ipFamilies: facts.families ?? ['IPv4'],
    },
    status: { loadBalancer: { ingress } },
  }
}

const addresses = (ingress: readonly Ingress[]) => ingress.map(({ ip }) => ip)

type Case = readonly [
  sentence: string,
  pods: readonly (readonly [string, Conditions])[],
  nodes: readonly Node[],
  wanted: readonly string[],
  shows?: readonly string[],
]

const n1 = node('n1')
const n2 = node('n2')
const dark = (name: string) => node(name, { ready: 'Unknown' })
const excluded = { 'node.kubernetes.io/exclude-from-external-load-balancers': '' }

const cases: readonly Case[] = [
  ['no pod, no address', [], [n1, n2], []],
  ['a node with a ready pod', [['n1', ready]], [n1, n2], ['10.0.0.1']],
  ['one that starts does not count', [['n1', starting]], [n1], []],
  [
    'a surge: the old pod ends beside the new one',
    [
      ['n1', ending],
      ['n1', ready],
    ],
    [n1],
    ['10.0.0.1'],
  ],
  [
    'a surge whose new pod is not ready: the old one, which ends, still serves',
    [
      ['n1', ending],
      ['n1', starting],
    ],
    [n1],
    ['10.0.0.1'],
  ],
  ['a pod that ends and still serves keeps the address', [['n1', ending]], [n1], ['10.0.0.1']],
  ['one that ends and serves no more does not', [['n1', ended]], [n1], []],
  ['conditions that nobody wrote mean ready', [['n1', {}]], [n1], ['10.0.0.1']],
  ['null means the same', [['n1', { ready: null, serving: null }]], [n1], ['10.0.0.1']],
  ['a node that is deleted', [['n1', ready]], [n2], []],
  [
    'a node that is not ready',
    [
      ['n1', ready],
      ['n2', ready],
    ],
    [dark('n1'), n2],
    ['10.0.0.2'],
    ['10.0.0.1', '10.0.0.2'],
  ],
  [
    'all nodes not ready at once: what is shown stays',
    [
      ['n1', ready],
      ['n2', starting],
    ],
    [dark('n1'), dark('n2')],
    ['10.0.0.1', '10.0.0.2'],
    ['10.0.0.1', '10.0.0.2'],
  ],
  [
    'a node that balancers should leave out',
    [
      ['n1', ready],
      ['n2', ready],
    ],
    [node('n1', { labels: excluded }), n2],
    ['10.0.0.2'],
  ],
]

describe('nodes', () => {
  for (const [sentence, pods, nodes, wanted, shows = []] of cases) {
    test(sentence, () => {
      const observed = { service: service({ shows }), slices: [slice(...pods)], nodes }
      expect(addresses(desiredIngress(observed, ['InternalIP']))).toEqual(wanted)
    })
  }
})

describe('addresses', () => {
  const both = node('n1', {
    addresses: [
      ['Hostname', 'n1'],
      ['InternalIP', '10.0.0.1'],
      ['InternalIP', 'fd00::1'],
      ['ExternalIP', '192.0.2.1'],
      ['InternalDNS', '10.0.0.9'],
    ],
  })
  const slices = [slice(['n1', ready])]
  test.each([
    [['InternalIP'], ['IPv4'], ['10.0.0.1']],
    [['InternalIP'], ['IPv4', 'IPv6'], ['10.0.0.1', 'fd00::1']],
    [['InternalIP'], ['IPv6'], ['fd00::1']],
    [['InternalIP'], [], ['10.0.0.1', 'fd00::1']],
    [['ExternalIP'], ['IPv4'], ['192.0.2.1']],
    [['InternalIP', 'ExternalIP'], ['IPv4'], ['10.0.0.1', '192.0.2.1']],
  ] as const)('%s of families %s', (types, families, wanted) => {
    const observed = { service: service({ families: [...families] }), slices, nodes: [both] }
    expect(addresses(desiredIngress(observed, types))).toEqual(wanted)
  })
})

test('of our class are only Services of type LoadBalancer that name it', () => {
  const ours = service()
  expect(isOurs(ours, 'x/y')).toBe(true)
  expect(isOurs(ours, 'x/z')).toBe(false)
  expect(isOurs({ ...ours, spec: { ...ours.spec, type: 'ClusterIP' } }, 'x/y')).toBe(false)
})

test('a server that does not know ipMode is not written to again and again', () => {
  expect(isSame([{ ip: '10.0.0.1' }], [{ ip: '10.0.0.1', ipMode: 'VIP' }])).toBe(true)
  expect(isSame([{ ip: '10.0.0.1', ipMode: 'Proxy' }], [{ ip: '10.0.0.1' }])).toBe(false)
  expect(isSame([], [{ ip: '10.0.0.1' }])).toBe(false)
})

describe('whatever is observed', () => {
  const names = fc.constantFrom('n1', 'n2', 'n3', 'n4')
  const pods = fc.array(fc.tuple(names, fc.constantFrom(ready, ending, ended, starting)))
  const nodeOf = fc.tuple(names, fc.constantFrom('True', 'False', 'Unknown'))
  const nodes = fc
    .uniqueArray(nodeOf, { selector: ([name]) => name })
    .map((all) => all.map(([name, state]) => node(name, { ready: state })))
  const run = (slices: readonly EndpointSlice[], all: readonly Node[], shows: readonly string[]) =>
    desiredIngress({ service: service({ shows }), slices, nodes: all }, ['InternalIP'])

  test('written once, it is what is wanted', () => {
    fc.assert(
      fc.property(pods, nodes, (all, known) => {
        const first = run([slice(...all)], known, [])
        const shown = first.flatMap(({ ip }) => ip ?? [])
        expect(isSame(run([slice(...all)], known, shown), first)).toBe(true)
      }),
    )
  })

  test('neither the order nor the cut of what comes in matters', () => {
    fc.assert(
      fc.property(pods, nodes, fc.nat(), (all, known, cut) => {
        const at = cut % (all.length + 1)
        const parts = [slice(...all.slice(at)), slice(...all.slice(0, at))]
        expect(run(parts, known.toReversed(), [])).toEqual(run([slice(...all)], known, []))
      }),
    )
  })

  test('every address is one of a ready node that serves', () => {
    fc.assert(
      fc.property(pods, nodes, (all, known) => {
        for (const { ip = '' } of run([slice(...all)], known, [])) {
          expect(isIP(ip)).toBe(4)
          const name = `n${ip.slice(-1)}`
          const owner = known.find(({ metadata }) => metadata.name === name)
          expect(owner?.status.conditions?.[0]?.status).toBe('True')
          expect(all.some(([host, state]) => host === name && (state.serving ?? false))).toBe(true)
        }
      }),
    )
  })
})
