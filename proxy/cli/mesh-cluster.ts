/** `edge mesh coordinator --kubernetes`: its flags, and what they open. */
import { Api } from '../../kubernetes/api.ts'
import type { CoordinatorState } from '../../mesh/coordinator/state.ts'
import type { Admit } from '../../mesh/coordinator/server.ts'
import type { MeshNetworks } from '../../mesh/entry.ts'
import type { Log } from '../../mesh/log.ts'
import { Adapter, keptNetworks } from '../../mesh/kubernetes/adapter.ts'
import { audienceDefault } from '../../mesh/kubernetes/terms.ts'
import { UsageError } from '../config/faults.ts'
import { apiFlags, placeOf } from './cluster-place.ts'
import { cidrs } from './mesh-flags.ts'
import type { Terminal } from './terminal.ts'

/** Flags of the coordinator that say something of its cluster. */
export const clusterFlags = {
  ...apiFlags,
  account: { type: 'string' },
  audience: { type: 'string', default: audienceDefault },
  'config-map': { type: 'string', default: 'edge-mesh' },
  allow: { type: 'string', multiple: true },
  'annotated-nodes': { type: 'boolean', default: false },
  network: { type: 'string', multiple: true },
  'location-label': { type: 'string' },
} as const

interface Values {
  readonly namespace?: string | undefined
  readonly server?: string | undefined
  readonly 'token-file'?: string | undefined
  readonly 'ca-file'?: string | undefined
  readonly account?: string | undefined
  readonly audience: string
  readonly 'config-map': string
  readonly allow?: string[] | undefined
  readonly 'annotated-nodes': boolean
  readonly network?: string[] | undefined
  readonly 'location-label'?: string | undefined
}

/** What the coordinator does beside the registry. */
interface Following {
  readonly admit: Admit
  readonly ended: Promise<void>
}

/** The cluster of a coordinator. */
export interface OpenCluster {
  /** What the mesh had before, else what flags say; null: the coordinator chooses. */
  networks(): Promise<MeshNetworks | null>
  /** Once the registry knows what the cluster knew. */
  follow(
    state: CoordinatorState,
    around: { readonly folder: string; readonly log: Log; readonly end: Promise<unknown> },
  ): Promise<Following>
  close(): Promise<void>
}

/** Opens the API; nothing is asked yet. */
export function clusterOf(values: Values, terminal: Terminal): OpenCluster {
  const { place, namespace } = placeOf(values, terminal)
  const { account, audience, 'config-map': configMap } = values
  if (account === undefined || !/^[a-z0-9.-]+$/.test(account)) {
    throw new UsageError('--account: name the ServiceAccount of the agents')
  }
  const advertise = cidrs('--allow', values.allow)
  const locationLabel = labelOf(values['location-label'])
  const given = networksOf(values.network ?? [])
  const api = new Api(place)
  return {
    async networks() {
      return (await keptNetworks(api, { namespace, configMap })) ?? given
    },
    async follow(state, { folder, log, end }) {
      const adapter = new Adapter({
        ...state,
        api,
        folder,
        namespace,
        configMap,
        audience,
        advertise,
        account: `system:serviceaccount:${namespace}:${account}`,
        annotatedNodes: values['annotated-nodes'],
        locationLabel,
        log,
      })
      const ending = new AbortController()
      void end.then(() => ending.abort())
      const { promise: ready, resolve } = Promise.withResolvers<void>()
      const ended = adapter.run(ending.signal, resolve)
      await Promise.race([ready, ended])
      return { admit: adapter.admit, ended }
    },
    close: () => api.close(),
  }
}

/** One of each family. */
function networksOf(texts: readonly string[]): MeshNetworks | null {
  if (texts.length === 0) return null
  const all = cidrs('--network', texts)
  const ipv4 = all.find((text) => !text.includes(':'))
  const ipv6 = all.find((text) => text.includes(':'))
  if (all.length === 2 && ipv4 !== undefined && ipv6 !== undefined) return { ipv4, ipv6 }
  throw new UsageError('--network: write it twice, for IPv4 and for IPv6')
}

/** The name of a label, with or without a prefix. */
function labelOf(text: string | undefined): string | null {
  const pattern = /^(?:[a-z0-9.-]{1,253}\/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/
  if (text === undefined || text === '') return null
  if (pattern.test(text)) return text
  throw new UsageError(`--location-label: "${text}" is no name of a label`)
}
