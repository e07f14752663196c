/**
 * Many agents of the mesh in one process, for mesh-fleet: each with its own keys, connections and
 * table, by the agent's own code; only its device does nothing but note what it was given and when.
 * Takes orders over IPC, one at a time.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { CoordinatorClient } from '../../mesh/client.ts'
import type { Delta } from '../../mesh/entry.ts'
import { Follower } from '../../mesh/following.ts'
import { type Identity, passingIdentity, signRecord } from '../../mesh/identity.ts'
import { recordOf } from '../../mesh/joining.ts'
import { parseToken } from '../../mesh/token.ts'
import { emptyView, type View, withDelta } from '../../mesh/view.ts'
import { clockMs, type FleetOrder } from './mesh-fleet-orders.ts'

const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
/** A path for the record of an agent that has none: nothing is written. */
const port = 51_820

class FleetAgent {
  readonly identity: Identity
  readonly name: string
  client: CoordinatorClient | null = null
  follower: Follower | null = null
  appliedAtMs = 0
  helloAtMs = 0
  #ending = new AbortController()
  #url = ''

  constructor(identity: Identity, name: string) {
    this.identity = identity
    this.name = name
  }

  async join(url: string, token: string): Promise<void> {
    this.#url = url
    this.client = new CountingClient(url, parseToken(token)?.pin ?? '', this)
    await this.client.join(signRecord(this.identity, this.#record(port)), token)
  }

  async change(to: number): Promise<void> {
    await this.client?.update(signRecord(this.identity, this.#record(to)))
  }

  follow(view: View, fail: (error: unknown) => void): void {
    if (this.client === null) throw new Error('it has not joined')
    this.#ending = new AbortController()
    this.follower = new Follower({
      client: this.client,
      self: { id: this.identity.id, name: this.name },
      url: this.#url,
      log,
      view,
      apply: async (view) => {
        this.appliedAtMs = clockMs()
        for (const look of looks) look(this, view)
      },
      advance: advanced,
      announce: async () => undefined,
    })
    this.follower.run(this.#ending.signal).catch(fail)
  }

  reconnect(fail: (error: unknown) => void): void {
    const view = this.follower?.view ?? emptyView
    this.#ending.abort()
    this.follow(view, fail)
  }

  #record(at: number) {
    const options = { name: this.name, port: at, endpoint: null, advertise: [] }
    const { publicKey: key } = this.identity.wireguard
    return recordOf(options, { key }, Date.now())
  }
}

/** The agent's own client, which notes what comes through it. */
class CountingClient extends CoordinatorClient {
  readonly #agent: FleetAgent

  constructor(url: string, pin: string, agent: FleetAgent) {
    super(url, pin, agent.identity)
    this.#agent = agent
  }

  override async *watch(...args: Parameters<CoordinatorClient['watch']>) {
    for await (const event of super.watch(...args)) {
      if (event.kind === 'hello') this.#agent.helloAtMs = clockMs()
      if (event.kind === 'snapshot') counts.tables += 1
      if (event.kind === 'delta') counts.deltas += 1
      yield event
    }
  }
}

/**
 * Where everybody knows everybody, so many tables do not fit into one program: equal ones are kept
 * once. What a table becomes is still worked out by the agent's own code, and compared by hashes.
 */
function advanced(view: View, delta: Delta): View | null {
  const key = `${view.version} ${view.hash} ${delta.to} ${delta.hash}`
  const known = tables.get(key)
  if (known !== undefined) return known
  const next = withDelta(view, delta)
  if (tables.size > 64) tables.clear()
  if (next !== null) tables.set(key, next)
  return next
}

const tables = new Map<string, View>()
const agents: FleetAgent[] = []
const looks = new Set<(agent: FleetAgent, view: View) => void>()
const counts = { tables: 0, deltas: 0, failures: 0 }
let firstFailure = ''
const fail = (error: unknown): void => {
  counts.failures += 1
  firstFailure ||= String(error)
}

function agentAt(number: number): FleetAgent {
  const agent = agents[number]
  if (agent === undefined) throw new Error(`there is no agent ${number}`)
  return agent
}

/** The whole work, so many at a time. */
async function abreast(
  { from, to, most }: { from: number; to: number; most: number },
  work: (agent: FleetAgent) => Promise<void>,
): Promise<void> {
  let next = from
  const worker = async (): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- that is the bound
    while (next < to) await work(agentAt(next++))
  }
  await Promise.all(Array.from({ length: most }, worker))
}

async function joined(agent: FleetAgent, url: string, token: string): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- one attempt after the other
      await agent.join(url, token)
      return
    } catch (error) {
      if (attempt === 20) throw error
      // oxlint-disable-next-line no-await-in-loop
      await agent.client?.close()
      // oxlint-disable-next-line no-await-in-loop
      await sleep(200 + Math.random() * 2_000)
    }
  }
}

/** All follow, and the first one's table is what the others begin with, as if they had kept it. */
async function follow(): Promise<void> {
  const first = agentAt(0)
  first.follow(emptyView, fail)
  await until(() => first.appliedAtMs > 0)
  const view = first.follower?.view ?? emptyView
  await abreast({ from: 1, to: agents.length, most: 50 }, async (agent) => {
    agent.follow(view, fail)
    await until(() => agent.helloAtMs > 0)
  })
}

async function until(isTrue: () => boolean, timeoutMs = 600_000): Promise<void> {
  const end = clockMs() + timeoutMs
  // oxlint-disable-next-line no-await-in-loop -- looks one after the other are the purpose
  while (!isTrue() && clockMs() < end) await sleep(10)
  if (!isTrue()) throw new Error(`it did not come to pass; first failure: ${firstFailure}`)
}

/** When each agent had applied a record of a node with this port. */
async function awaited(order: Extract<FleetOrder, { do: 'await' }>): Promise<number[]> {
  const text = `"port":${order.port},`
  const times = new Map<FleetAgent, number>()
  const look = (agent: FleetAgent, { entries }: View): void => {
    const isThere = entries.get(order.id)?.record.includes(text) === true
    if (isThere && !times.has(agent)) times.set(agent, agent.appliedAtMs)
  }
  looks.add(look)
  try {
    await until(() => times.size === agents.length, order.timeoutMs)
    return [...times.values()]
  } finally {
    looks.delete(look)
  }
}

async function obey(order: FleetOrder): Promise<unknown> {
  switch (order.do) {
    case 'keys':
      for (let number = 0; number < order.count; number += 1) {
        // oxlint-disable-next-line no-await-in-loop -- the processor does one at a time anyway
        agents.push(new FleetAgent(await passingIdentity(), `${order.prefix}${number}`))
      }
      return agents.length
    case 'join':
      return abreast({ ...order, most: 64 }, async (agent) => {
        await joined(agent, order.url, order.token)
        if (order.isFollowing) agent.follow(emptyView, fail)
        if (order.isFollowing) await until(() => agent.appliedAtMs > 0)
      })
    case 'follow':
      return follow()
    case 'await':
      return awaited(order)
    case 'change': {
      const sentAtMs = clockMs()
      await agentAt(order.number).change(order.port)
      return { id: agentAt(order.number).identity.id, sentAtMs }
    }
    case 'reconnect':
      agentAt(order.number).reconnect(fail)
      return null
    case 'resumed':
      await until(() => agents.every((agent) => agent.helloAtMs > order.sinceMs), order.timeoutMs)
      return agents.map((agent) => agent.helloAtMs)
    case 'counts': {
      const connected = agents.filter(({ follower }) => follower?.isConnected === true).length
      return { connected, ...counts, firstFailure, rssMb: process.memoryUsage.rss() / 2 ** 20 }
    }
  }
}

process.on('message', (message: { readonly number: number; readonly order: FleetOrder }) => {
  obey(message.order).then(
    (answer) => process.send?.({ number: message.number, answer: answer ?? null }),
    (error: unknown) =>
      process.send?.({ number: message.number, error: `${message.order.do}: ${String(error)}` }),
  )
})
process.on('disconnect', () => process.exit(0))
