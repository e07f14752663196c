/** An API server over real sockets: lists, watches, leases, and what can go wrong with them. */
import { once } from 'node:events'
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Stored {
  metadata: {
    name: string
    namespace?: string
    resourceVersion?: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
    uid?: string
  }
  [key: string]: unknown
}

/** One request that came in. */
export interface Seen {
  readonly method: string
  readonly path: string
  readonly token: string
  readonly body: string
}

interface Watcher {
  readonly resource: string
  readonly response: ServerResponse
}

const collections = [
  'services',
  'endpointslices',
  'nodes',
  'leases',
  'pods',
  'configmaps',
  'events',
  'peers',
  'gateways',
] as const
const reviews = '/apis/authentication.k8s.io/v1/tokenreviews'
type Resource = (typeof collections)[number]

/** What is kept is what a test puts there. */
export class FakeApiServer {
  readonly seen: Seen[] = []
  /** Every answer to these requests (`PATCH`, `GET /…`) is this status. */
  readonly refused = new Map<string, number>()
  /** What a review of these tokens says; of all others, that they are none. */
  readonly reviews = new Map<string, object>()
  /** Watches from before this version are answered with 410. */
  goneBefore = 0
  readonly #objects = new Map<string, Map<string, Stored>>()
  readonly #owned = new Map<string, ReadonlySet<string>>()
  readonly #watchers = new Set<Watcher>()
  #version = 100
  #server: Server | null = null
  #port = 0

  constructor() {
    for (const resource of collections) this.#objects.set(resource, new Map())
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** Listens; after `stop` on the same port again. */
  async start(): Promise<void> {
    const server = createServer((request, response) => void this.#answer(request, response))
    server.listen(this.#port, '127.0.0.1')
    await once(server, 'listening')
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  /** Gone from one moment to the next, with all connections. */
  async stop(): Promise<void> {
    this.#watchers.clear()
    const closed = this.#server === null ? null : once(this.#server, 'close')
    this.#server?.close()
    this.#server?.closeAllConnections()
    await closed
    this.#server = null
  }

  /** Puts an object there, and tells those that watch. */
  put(resource: Resource, object: Stored): Stored {
    const kept = this.#objects.get(resource)
    const { name } = object.metadata
    const type = kept?.has(name) === true ? 'MODIFIED' : 'ADDED'
    this.#version += 1
    const stored = {
      ...object,
      metadata: { ...object.metadata, resourceVersion: String(this.#version) },
    }
    kept?.set(name, stored)
    this.#tell(resource, { type, object: stored })
    return stored
  }

  all(resource: Resource): readonly Stored[] {
    return [...(this.#objects.get(resource)?.values() ?? [])]
  }

  get(resource: Resource, name: string): Stored | undefined {
    return this.#objects.get(resource)?.get(name)
  }

  remove(resource: Resource, name: string): void {
    const object = this.get(resource, name)
    this.#objects.get(resource)?.delete(name)
    this.#version += 1
    const metadata = { ...object?.metadata, resourceVersion: String(this.#version) }
    this.#tell(resource, { type: 'DELETED', object: { ...object, metadata } })
  }

  /** Moves all watches on without an object, as servers do once a minute. */
  bookmark(): void {
    this.#version += 1
    const metadata = { resourceVersion: String(this.#version) }
    for (const { resource } of this.#watchers) {
      this.#tell(resource, { type: 'BOOKMARK', object: { metadata } })
    }
  }

  /** Ends every watch: with an event of this kind, or just so. */
  endWatches(event?: object): void {
    for (const watcher of this.#watchers) {
      if (event !== undefined) watcher.response.write(`${JSON.stringify(event)}\n`)
      watcher.response.end()
    }
    this.#watchers.clear()
  }

  /** Requests whose method and path begin like this. */
  count(begin: string): number {
    return this.seen.filter(({ method, path }) => `${method} ${path}`.startsWith(begin)).length
  }

  #tell(resource: string, event: object): void {
    for (const watcher of this.#watchers) {
      if (watcher.resource === resource) watcher.response.write(`${JSON.stringify(event)}\n`)
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString('utf8')
    const { method = 'GET' } = request
    const path = url.pathname + url.search
    this.seen.push({ method, path, body, token: request.headers.authorization ?? '' })
    const status = this.refused.get(method) ?? this.refused.get(`${method} ${url.pathname}`)
    if (status !== undefined) return fail(response, status)
    if (url.pathname === reviews) return this.#review(body, response)
    const parts = url.pathname.split('/')
    const resource = collections.find((name) => parts.includes(name))
    if (resource === undefined) return fail(response, 404)
    const name = parts[parts.indexOf(resource) + 1]
    if (url.searchParams.has('watch')) return this.#watch(resource, url, response)
    if (method === 'GET') return this.#read(resource, name, response)
    if (method === 'DELETE') return this.#delete(resource, name ?? '', response)
    if (request.headers['content-type'] === 'application/apply-patch+yaml') {
      return this.#apply(resource, { name: name ?? '', body, manager: url }, response)
    }
    return this.#write(resource, { method, name, body }, response)
  }

  #watch(resource: string, url: URL, response: ServerResponse): void {
    const from = Number(url.searchParams.get('resourceVersion'))
    if (from < this.goneBefore) return fail(response, 410)
    response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders()
    const watcher = { resource, response }
    this.#watchers.add(watcher)
    response.on('close', () => this.#watchers.delete(watcher))
    const missed = [...(this.#objects.get(resource)?.values() ?? [])].filter(
      ({ metadata }) => Number(metadata.resourceVersion) > from,
    )
    for (const object of missed) {
      response.write(`${JSON.stringify({ type: 'MODIFIED', object })}\n`)
    }
  }

  #read(resource: string, name: string | undefined, response: ServerResponse): void {
    const kept = this.#objects.get(resource)
    if (name !== undefined) {
      const object = kept?.get(name)
      return object === undefined ? fail(response, 404) : send(response, object)
    }
    const metadata = { resourceVersion: String(this.#version) }
    return send(response, { metadata, items: [...(kept?.values() ?? [])] })
  }

  #review(body: string, response: ServerResponse): void {
    const { spec } = JSON.parse(body) as { spec: { token: string } }
    return send(response, { status: this.reviews.get(spec.token) ?? { authenticated: false } })
  }

  #delete(resource: Resource, name: string, response: ServerResponse): void {
    if (this.get(resource, name) === undefined) return fail(response, 404)
    this.remove(resource, name)
    return send(response, { kind: 'Status', status: 'Success' })
  }

  /** Server-side apply: annotations that the manager names no more go; the rest is as it says. */
  #apply(
    resource: Resource,
    { name, body, manager }: { name: string; body: string; manager: URL },
    response: ServerResponse,
  ): void {
    const given: Stored = JSON.parse(body)
    const before = this.get(resource, name)
    if (before === undefined && (resource === 'nodes' || manager.pathname.endsWith('/status'))) {
      return fail(response, 404)
    }
    const { uid } = given.metadata
    if (uid !== undefined && uid !== before?.metadata.uid) return fail(response, 409)
    const owner = `${manager.searchParams.get('fieldManager')} ${resource}/${name}`
    const named = given.metadata.annotations ?? {}
    const kept = Object.entries(before?.metadata.annotations ?? {}).filter(
      ([key]) => !(this.#owned.get(owner)?.has(key) ?? false),
    )
    this.#owned.set(owner, new Set(Object.keys(named)))
    const annotations = { ...Object.fromEntries(kept), ...named }
    const metadata = { ...before?.metadata, ...given.metadata, annotations }
    return send(response, this.put(resource, { ...before, ...given, metadata }))
  }

  #write(
    resource: Resource,
    { method, name, body }: { method: string; name: string | undefined; body: string },
    response: ServerResponse,
  ): void {
    const given: Stored = JSON.parse(body)
    if (resource === 'events') given.metadata.name = `event-${this.#version}`
    const before = this.get(resource, name ?? given.metadata.name)
    if (method === 'POST') {
      return before === undefined ? send(response, this.put(resource, given)) : fail(response, 409)
    }
    if (before === undefined) return fail(response, 404)
    const { resourceVersion } = given.metadata
    if (resourceVersion !== before.metadata.resourceVersion) return fail(response, 409)
    const metadata = { ...before.metadata, ...given.metadata }
    return send(response, this.put(resource, { ...before, ...given, metadata }))
  }
}

function send(response: ServerResponse, object: object): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(object))
}

function fail(response: ServerResponse, code: number): void {
  const message = `refused with ${code}`
  response
    .writeHead(code, { 'content-type': 'application/json' })
    .end(JSON.stringify({ kind: 'Status', code, message }))
}
