/** The two HTTP servers for operators. Neither sees a client's bytes. */
import { rename, unlink } from 'node:fs/promises'
import { type FastifyInstance, fastify } from 'fastify'
import type { EventPage, EventQuery } from '../events/event.ts'
import { hostPortOf } from '../host-port.ts'
import { expositionType } from './exposition.ts'
import { eventRoutes } from './event-routes.ts'

/** One thing that must hold before the program is ready. */
export interface Check {
  readonly name: string
  readonly ok: boolean
}

/** What the servers ask the program. */
export interface AdminSource {
  /** The configuration in force, without secrets. */
  config(): unknown
  /** How reloads went, with the faults of the newest one. */
  reloads(): unknown
  events(query: EventQuery): Promise<EventPage>
  /** The event of a request as JSON; null when there is none (any more). */
  event(requestId: string): Promise<string | null>
  metrics(): Promise<string>
  /** Every route and how it is inspected. */
  routes(): unknown
  /** Every endpoint and whether it is used. */
  upstreams(): Promise<unknown>
  ready(): readonly Check[]
  started(): readonly Check[]
}

/** The part of it that the status server asks. */
export type StatusSource = Pick<AdminSource, 'metrics' | 'ready' | 'started'>

/** As the probes of Kubernetes' own programs are asked: `?verbose`, `?exclude=CHECK`. */
interface ProbeQuery {
  readonly verbose?: string
  readonly exclude?: string | readonly string[]
}

/** The admin API: everything of the status server, and what an outsider must not see. */
export function adminServer(source: AdminSource): FastifyInstance {
  const server = statusServer(source)
  server.get('/config', () => source.config())
  server.get('/upstreams', () => source.upstreams().then((upstreams) => ({ upstreams })))
  server.get('/reloads', () => source.reloads())
  eventRoutes(server, source)
  server.get('/routes', () => ({ routes: source.routes() }))
  return server
}

/** Probes and metrics: read-only, and nothing in them names a client. */
export function statusServer(source: StatusSource): FastifyInstance {
  const server = fastify({ logger: false, forceCloseConnections: true })
  const probes: Record<string, () => readonly Check[]> = {
    // Alive means that this thread answers; a failing dependency must not restart the program.
    '/livez': () => [],
    '/readyz': () => source.ready(),
    '/startupz': () => source.started(),
  }
  for (const [path, checks] of Object.entries(probes)) {
    server.get<{ Querystring: ProbeQuery }>(path, (request, reply) => {
      const excluded = [request.query.exclude ?? []].flat()
      const results = checks().filter(({ name }) => !excluded.includes(name))
      const ok = results.every((check) => check.ok)
      const verbose = request.query.verbose !== undefined
      return reply
        .code(ok ? 200 : 503)
        .type('text/plain; charset=utf-8')
        .send(verbose ? report(results, ok) : ok ? 'ok\n' : 'not ready\n')
    })
  }
  server.get('/metrics', async (_request, reply) => {
    const text = await source.metrics()
    return reply.type(expositionType).send(text)
  })
  return server
}

/**
 * Listens on `ADDR:PORT` or `unix:PATH`; the bound address. `shared`: beside a program that listens
 * there, too.
 */
export async function listenOn(
  server: FastifyInstance,
  address: string,
  shared = false,
): Promise<string> {
  if (address.startsWith('unix:')) {
    const path = address.slice('unix:'.length)
    // Put in place of what is there: a stale file of a program that died, or that of the running
    // one, whose clients lose nothing. Node removes the name it knows at the end, and not this.
    const fresh = `${path}.${process.pid}`
    await unlink(fresh).catch(() => undefined)
    await server.listen({ path: fresh })
    await rename(fresh, path)
    return path
  }
  const options = { ...hostPortOf(address), reusePort: shared }
  return server.listen(options)
}

function report(checks: readonly Check[], ok: boolean): string {
  const lines = checks.map((check) => `[${check.ok ? '+' : '-'}]${check.name}`)
  return `${[...lines, ok ? 'ok' : 'not ready'].join('\n')}\n`
}
