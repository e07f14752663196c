/** What no single value shows: references, doubles, and numbers that contradict each other. */
import { hostPortOf } from '../host-port.ts'
import { type Fault, nearest } from './faults.ts'
import type { Origins } from './layer.ts'
import type { Path } from './schema-walk.ts'
import type { ParsedFile } from './schema.ts'

/** Every contradiction between values that are right by themselves. */
export function crossFaults(config: ParsedFile, origins: Origins): Fault[] {
  const faults: Fault[] = []
  const report = (path: Path, message: string, mend: string): void => {
    faults.push({ where: origins.get(path), message, mend })
  }
  checkNames(config, report)
  checkRoutes(config, report)
  checkUpstreams(config, report)
  checkMesh(config, report)
  checkListeners(config, report)
  checkNeighbours(config, report)
  checkTimes(config, report)
  checkTuning(config, report)
  return faults
}

type Report = (path: Path, message: string, mend: string) => void

function checkNames({ routes, upstreams }: ParsedFile, report: Report): void {
  for (const [kind, list] of [
    ['routes', routes],
    ['upstreams', upstreams],
  ] as const) {
    const seen = new Set<string>()
    list.forEach(({ name }, index) => {
      if (seen.has(name)) {
        report([kind, index, 'name'], `two ${kind} are called "${name}"`, 'rename one of them')
      }
      seen.add(name)
    })
  }
}

function checkRoutes({ routes, upstreams }: ParsedFile, report: Report): void {
  const names = upstreams.map(({ name }) => name)
  const seen = new Map<string, string>()
  routes.forEach((route, index) => {
    if (!names.includes(route.upstream)) {
      const meant = nearest(route.upstream, names)
      const mend =
        meant === null ? `the upstreams are ${names.join(', ')}` : `did you mean "${meant}"?`
      report([`routes`, index, 'upstream'], `there is no upstream "${route.upstream}"`, mend)
    }
    for (const host of new Set(route.hosts)) {
      const key = `${host} ${route.path}`
      const other = seen.get(key)
      if (other !== undefined) {
        const of = host === '' ? 'any host' : host
        const message = `routes "${other}" and "${route.name}" both match ${of} and ${route.path}`
        report(['routes', index], message, 'change the hosts or the path of one of them')
      }
      seen.set(key, route.name)
    }
  })
  if (routes.length === 0 && names.length > 1) {
    report(['upstreams'], 'several upstreams and no routes', 'add routes: that name an upstream')
  }
}

function checkUpstreams({ upstreams }: ParsedFile, report: Report): void {
  upstreams.forEach(({ name, endpoints, tls, balance, sticky, health }, index) => {
    const at = (...keys: readonly (string | number)[]): Path => ['upstreams', index, ...keys]
    const urls = new Set<string>()
    endpoints.forEach(({ url }, place) => {
      if (urls.has(url)) {
        const message = `upstream "${name}" has the endpoint ${url} twice`
        report(at('endpoints', place, 'url'), message, 'remove one of them; use weight instead')
      }
      urls.add(url)
    })
    const { caFile, serverName, verify, clientCertFile, clientKeyFile } = tls
    const named = [caFile, serverName, clientCertFile, clientKeyFile].some((key) => key !== null)
    const hasTls = endpoints.some(({ url }) => url.startsWith('https:'))
    if ((named || !verify) && !hasTls) {
      const message = `upstream "${name}" has tls settings and no endpoint over https`
      report(at('tls'), message, 'write https:// in the url of its endpoints')
    }
    if ((clientCertFile === null) !== (clientKeyFile === null)) {
      const message = `upstream "${name}" has half a client certificate`
      report(at('tls'), message, 'write both clientCertFile and clientKeyFile')
    }
    if (caFile !== null && !verify) {
      const message = `upstream "${name}" names authorities and does not verify`
      report(at('tls', 'verify'), message, 'remove verify: false, or caFile')
    }
    if (sticky.keyFile !== null && balance !== 'sticky') {
      const message = `upstream "${name}" has a sticky key and is not sticky`
      report(at('sticky', 'keyFile'), message, 'write balance: sticky')
    }
    if (health !== null && health.timeoutMs > health.intervalMs) {
      const message = `health.timeout of upstream "${name}" is longer than its interval`
      report(at('health', 'timeout'), message, `write at most ${health.intervalMs}ms`)
    }
  })
}

function checkMesh({ upstreams, mesh }: ParsedFile, report: Report): void {
  if (mesh.stateDir !== null) return
  upstreams.forEach(({ endpoints }, index) => {
    endpoints.forEach(({ url }, place) => {
      if (!url.startsWith('mesh:')) return
      const message = `${url} needs to know where the agent of this node keeps its state`
      const mend = 'write mesh.stateDir or --mesh-state: the folder of edge mesh up --state'
      report(['upstreams', index, 'endpoints', place, 'url'], message, mend)
    })
  })
}

function checkListeners({ listen, admin, status }: ParsedFile, report: Report): void {
  if (listen.http === null && listen.https === null) {
    report(
      ['listen', 'http'],
      'there is no listener',
      'give listen.http or listen.https an address',
    )
  }
  const listeners = [
    [['listen', 'http'], listen.http],
    [['listen', 'https'], listen.https],
    [['admin'], admin],
    [['status'], status],
  ] as const
  listeners.forEach(([path, address], index) => {
    const other = listeners.slice(0, index).find(([, earlier]) => clash(earlier, address))
    if (other === undefined) return
    const message = `${path.join('.')} and ${other[0].join('.')} both use ${address}`
    report(path, message, 'give one of them another port')
  })
}

/** Whether two addresses cannot both be bound over TCP. */
function clash(one: string | null, other: string | null): boolean {
  if (one === null || other === null || one.startsWith('unix:'))
    return one === other && one !== null
  const { host, port } = hostPortOf(one)
  const { host: otherHost, port: otherPort } = hostPortOf(other)
  if (port !== otherPort || port === 0) return false
  return host === otherHost || host === '0.0.0.0' || otherHost === '0.0.0.0'
}

function checkNeighbours({ quic }: ParsedFile, report: Report): void {
  const { listen, address, meet } = quic.neighbours
  const isAny = listen !== null && ['0.0.0.0', '::'].includes(hostPortOf(listen).host)
  if (isAny && address === null) {
    const message = 'quic.neighbours.listen is every address: others do not know which one'
    report(['quic', 'neighbours', 'address'], message, 'write the address that they reach')
  }
  if (listen === null && meet !== null) {
    const message = 'quic.neighbours.meet leads to neighbours, and none is listened to'
    report(['quic', 'neighbours', 'listen'], message, 'write ADDRESS:PORT, or remove meet')
  }
}

function checkTimes({ waf, limits, routes }: ParsedFile, report: Report): void {
  if (waf.workerSilenceMs <= waf.budgetMs) {
    const message = 'waf.workerSilence is not longer than waf.budget: workers at work would be lost'
    report(['waf', 'workerSilence'], message, `write more than ${waf.budgetMs}ms`)
  }
  const { endpoints, timeoutMs, frameBytesMax } = waf.service
  if (endpoints.length > 0 && timeoutMs <= waf.budgetMs) {
    const message =
      'waf.service.timeout is not longer than waf.budget: verdicts would come too late'
    report(['waf', 'service', 'timeout'], message, `write more than ${waf.budgetMs}ms`)
  }
  // What is around it is less than that, and a body goes in pieces.
  const leastBytes = 2 * limits.headerBytesMax + 65_536
  if (frameBytesMax < leastBytes) {
    const message = 'waf.service.frameMax has no room for the longest head'
    report(['waf', 'service', 'frameMax'], message, `write at least ${leastBytes}B`)
  }
  routes.forEach((route, index) => {
    if (route.inspectMaxBytes <= limits.inspectedBodiesBytesMax) return
    const message = `inspectMax of route "${route.name}" is more than limits.inspectedBodiesMax`
    report(['routes', index, 'inspectMax'], message, 'lower it, or raise limits.inspectedBodiesMax')
  })
}

/** The CRS refuses every request when it detects less than it blocks. */
function checkTuning({ waf, routes }: ParsedFile, report: Report): void {
  const places: [Path, ParsedFile['routes'][number]['waf'] | ParsedFile['waf']][] = [
    [['waf'], waf],
    ...routes.map((route, index): [Path, (typeof route)['waf']] => [
      ['routes', index, 'waf'],
      route.waf,
    ]),
  ]
  for (const [path, { paranoia, detectionParanoia, exclusions }] of places) {
    if (paranoia !== null && detectionParanoia !== null && detectionParanoia < paranoia) {
      const message = `detectionParanoia ${detectionParanoia} is less than paranoia ${paranoia}`
      report([...path, 'detectionParanoia'], message, `write ${paranoia} to 4, or remove it`)
    }
    exclusions.forEach(({ rules, tags }, index) => {
      if (rules.length > 0 || tags.length > 0) return
      const message = 'the exclusion names no rules'
      report([...path, 'exclusions', index], message, 'add rules: or tags:')
    })
  }
}
