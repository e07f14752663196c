/**
 * `GET /events?limit=&rule=&path=&since=&blocked=&cursor=` and `GET /events/REQUEST-ID`: the newest
 * first, with a cursor for the next page.
 */
import type { FastifyInstance } from 'fastify'
import type { AdminSource } from './server.ts'

interface EventsQuery {
  readonly limit: number
  readonly rule?: number
  readonly path?: string
  readonly since?: string
  readonly blocked?: boolean
  readonly cursor?: number
}

const json = 'application/json; charset=utf-8'
const eventsMax = 1_000
const idCharactersMax = 256

const querySchema = {
  type: 'object',
  properties: {
    limit: { type: 'integer', minimum: 1, maximum: eventsMax, default: 100 },
    rule: { type: 'integer', minimum: 0 },
    path: { type: 'string', maxLength: 8192 },
    since: { type: 'string', maxLength: 64 },
    blocked: { type: 'boolean' },
    cursor: { type: 'integer', minimum: 0 },
  },
} as const

/** Adds both routes. */
export function eventRoutes(
  server: FastifyInstance,
  source: Pick<AdminSource, 'events' | 'event'>,
): void {
  server.get<{ Querystring: EventsQuery }>(
    '/events',
    { schema: { querystring: querySchema } },
    async (request, reply) => {
      const { limit, rule, path, since, blocked, cursor } = request.query
      const sinceMs = since === undefined ? null : timeOf(since)
      if (Number.isNaN(sinceMs)) return reply.code(400).send({ error: 'since is no time' })
      const page = await source.events({
        limit,
        rule: rule ?? null,
        path: path ?? null,
        sinceMs,
        blocked: blocked ?? null,
        before: cursor ?? null,
      })
      // The events are JSON already.
      return reply.type(json).send(`{"events":[${page.events.join(',')}],"next":${page.next}}`)
    },
  )
  server.get<{ Params: { id: string } }>('/events/:id', async (request, reply) => {
    const { id } = request.params
    const event = id.length > idCharactersMax ? null : await source.event(id)
    if (event === null) return reply.code(404).send({ error: `no event of request ${id}` })
    return reply.type(json).send(event)
  })
}

/** Milliseconds since the epoch, or any time that ISO 8601 writes. */
function timeOf(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : Date.parse(text)
}
