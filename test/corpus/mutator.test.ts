/**
 * A run of mutated requests on real sockets: nothing crashes, nothing hangs, no worker restarts,
 * and no ambiguous request reaches the backend. `EDGE_MUTATOR_SEED` and `EDGE_MUTATOR_REQUESTS`
 * make other and longer runs.
 */
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { crsDirectory, startEdge, type RunningEdge } from '../harness/edge.ts'
import { head } from './case.ts'
import { mutation } from './mutations.ts'
import { RawClient } from './raw-client.ts'
import { Recorder } from './recorder.ts'

const seed = Number(process.env['EDGE_MUTATOR_SEED'] ?? '4')
const requests = Number(process.env['EDGE_MUTATOR_REQUESTS'] ?? '30000')
const concurrency = 64
/** Silence after which the client ends its side: then the edge must end the connection. */
const silenceMs = 25
/** Longer than this without an end is a hang. */
const hangMs = 8000

const recorder = new Recorder()
const crs = crsDirectory()
let plain: RunningEdge
let inspecting: RunningEdge

beforeAll(async () => {
  const url = await recorder.start()
  const common = ['--backend', url, '--no-redirect']
  const environment = { EDGE_LOG_ACCESS: 'false' }
  plain = await startEdge({ arguments: [...common, '--waf', 'off'], environment })
  const rules = crs === null ? [] : ['--rules', crs]
  inspecting = await startEdge({ arguments: [...common, ...rules], environment })
}, 60_000)

afterAll(async () => {
  await plain.stop()
  await inspecting.stop()
  recorder.close()
})

interface Run {
  readonly port: number
  readonly tls: boolean
  /** Numbers of its first input and of the first one that is not its own. */
  readonly from: number
  readonly to: number
}

interface Ended {
  readonly hung: boolean
  /** Something other than HTTP/1.1 answers came back. */
  readonly garbage: string | null
  readonly answered: boolean
}

/** Sends one connection's bytes and waits for its end. */
function send(bytes: string, { port, tls }: Run): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { port, host: '127.0.0.1', rejectUnauthorized: false }
    const socket: Socket = tls ? connectTls(options) : connect({ port, host: '127.0.0.1' })
    let received = ''
    const finish = () => socket.end()
    let silence: NodeJS.Timeout | undefined
    let over = false
    const end = (hung: boolean) => {
      if (over) return
      over = true
      clearTimeout(silence)
      clearTimeout(patience)
      socket.destroy()
      const isHttp = received === '' || /^HTTP\/1\.1 [1-5]\d\d /.test(received)
      resolve({ hung, garbage: isHttp ? null : received, answered: received !== '' })
    }
    const patience = setTimeout(() => end(true), hangMs)
    socket.on(tls ? 'secureConnect' : 'connect', () => {
      socket.write(Buffer.from(bytes, 'latin1'))
      silence = setTimeout(finish, silenceMs)
    })
    socket.on('data', (chunk: Buffer) => {
      if (received.length < 100) received += chunk.toString('latin1', 0, 100)
      silence?.refresh()
    })
    socket.on('error', () => end(false)).on('close', () => end(false))
  })
}

/** Sends all inputs of a run, many connections at a time; what went wrong. */
async function mutate(run: Run): Promise<{ wrong: string[]; answered: number }> {
  const wrong: string[] = []
  let answered = 0
  let next = run.from
  const one = async () => {
    while (next < run.to && wrong.length < 10) {
      const index = next
      next += 1
      const bytes = mutation(seed, index)
      const { hung, garbage, answered: some } = await send(bytes, run)
      if (hung) wrong.push(`hang after input ${index} ${JSON.stringify(bytes)}`)
      if (garbage !== null) wrong.push(`garbage after input ${index}: ${garbage}`)
      if (some) answered += 1
    }
  }
  await Promise.all(Array.from({ length: concurrency }, one))
  return { wrong, answered }
}

async function restarts(edge: RunningEdge): Promise<string | undefined> {
  const answer = await fetch(`http://127.0.0.1:${edge.statusPort}/metrics`)
  return /^edge_waf_worker_restarts_total (\d+)/m.exec(await answer.text())?.[1]
}

async function expectWell(edge: RunningEdge): Promise<void> {
  expect(edge.process.exitCode).toBeNull()
  expect(await restarts(edge)).toBe('0')
  expect(edge.output()).not.toMatch(/panic/i)
  const client = new RawClient({ port: edge.httpPort })
  client.send(head('GET /after HTTP/1.1', 'Host: a.example', 'User-Agent: x', 'Accept: */*'))
  expect(await client.answer('GET')).toMatchObject({ status: 200, body: 'ok' })
  client.destroy()
}

test(`${requests} mutated requests (seed ${seed})`, async () => {
  console.log(`mutator: seed ${seed}, ${requests} requests`)
  const [tlsFrom, wafFrom] = [Math.floor(requests * 0.78), Math.floor(requests * 0.83)]
  const runs: readonly Run[] = [
    { port: plain.httpPort, tls: false, from: 0, to: tlsFrom },
    { port: plain.httpsPort, tls: true, from: tlsFrom, to: wafFrom },
    { port: inspecting.httpPort, tls: false, from: wafFrom, to: requests },
  ]
  for (const run of runs) {
    const { wrong, answered } = await mutate(run)
    expect(wrong).toEqual([])
    // Nearly all input is answered, if only with 400: silence would mean that nothing is tested.
    expect(answered).toBeGreaterThan((run.to - run.from) / 2)
  }
  const { requests: understood, faults } = recorder.take()
  expect(faults).toEqual([])
  expect(understood.length).toBeGreaterThan(requests / 100)
  await expectWell(plain)
  await expectWell(inspecting)
}, 300_000)
