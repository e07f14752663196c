/** The two HTTP servers for operators. Neither sees a client's bytes. */
import { unlink } from 'node:fs/promises'
import { type FastifyInstance, fastify } from 'fastify'
import type { EdgeEvent } from './events.ts'
import { expositionType } from './exposition.ts'

/** One thing that must hold before the program is ready. */
export interface Check {
  readonly name: string
  readonly ok: boolean
}

/** What the servers ask the program. */
export interface AdminSource {
  /** The configuration in force, without secrets. */
  config(): unknown
  events(limit: number): Promise<readonly EdgeEvent[]>
  metrics(): Promise<string>
  /** Every endpoint and whether it is used. */
  upstreams(): Promise<unknown>
  ready(): readonly Check[]
  started(): readonly Check[]
}

const eventsMax = 1_000
const eventsDefault = 100

/** The admin API: everything of the status server, and what an outsider must not see. */
export function adminServer(source: AdminSource): FastifyInstance {
  const server = statusServer(source)
  server.get('/config', () => source.config())
  server.get('/upstreams', () => source.upstreams().then((upstreams) => ({ upstreams })))
  server.get<{ Querystring: { limit: number } }>(
    '/events',
    { schema: { querystring: limitSchema } },
    (request) => source.events(request.query.limit).then((events) => ({ events })),
  )
  return server
}

/** Probes and metrics: read-only, and nothing in them names a client. */
export function statusServer(source: AdminSource): FastifyInstance {
  const server = fastify({ logger: false, forceCloseConnections: true })
  const probes: Record<string, () => readonly Check[]> = {
    // Alive means that this thread answers; a failing dependency must not restart the program.
    '/livez': () => [],
    '/readyz': () => source.ready(),
    '/startupz': () => source.started(),
  }
  for (const [path, checks] of Object.entries(probes)) {
    server.get<{ Querystring: { verbose?: string } }>(path, (request, reply) => {
      const results = checks()
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

/** Listens on `ADDR:PORT` or `unix:PATH`; the bound address. */
export async function listenOn(server: FastifyInstance, address: string): Promise<string> {
  if (address.startsWith('unix:')) {
    const path = address.slice('unix:'.length)
    // A socket file outlives its program; binding to a stale one fails.
    await unlink(path).catch(() => undefined)
    return server.listen({ path })
  }
  const colon = address.lastIndexOf(':')
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
  return server.listen({ host, port: Number(address.slice(colon + 1)) })
}

const limitSchema = {
  type: 'object',
  properties: {
    limit: { type: 'integer', minimum: 1, maximum: eventsMax, default: eventsDefault },
  },
} as const

function report(checks: readonly Check[], ok: boolean): string {
  const lines = checks.map((check) => `[${check.ok ? '+' : '-'}]${check.name}`)
  return `${[...lines, ok ? 'ok' : 'not ready'].join('\n')}\n`
}
