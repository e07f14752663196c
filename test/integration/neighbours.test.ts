/**
 * Two programs on one node with networks of their own, as the old and the new pod in an update: the
 * node leads a client whose NAT rebinds to the one that does not know its connection.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { losses, type LossCounts } from '../e2e/loss-stage.ts'
import { type RunningEdge, startEdge } from '../harness/edge.ts'
import { type GoBackend, runGo, startGo, startGoBackend } from '../harness/go.ts'
import {
  freeUdpPort,
  startUdpNode,
  startUdpService,
  type UdpNode,
} from '../harness/udp-conntrack.ts'
import { metric, until } from '../harness/wait.ts'

let folder = ''
let backend: GoBackend

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'edge-neighbours-'))
  backend = await startGoBackend(['backend'])
  for (const name of ['own', 'foreign']) {
    const files = ['-cert', join(folder, `${name}.crt`), '-key', join(folder, `${name}.key`)]
    await runGo(['certificate', ...files])
  }
}, 120_000)

afterAll(async () => {
  await backend.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** The two programs, with the certificates of these names, and the node before them. */
class Update {
  readonly old: RunningEdge
  readonly next: RunningEdge
  readonly node: UdpNode
  readonly #closeService: () => void

  constructor(parts: { old: RunningEdge; next: RunningEdge; node: UdpNode }, close: () => void) {
    this.old = parts.old
    this.next = parts.next
    this.node = parts.node
    this.#closeService = close
  }

  static async start(certificates: readonly [string, string]): Promise<Update> {
    const ports = [await freeUdpPort(), await freeUdpPort()] as const
    const service = await startUdpService(ports)
    const start = (index: 0 | 1): Promise<RunningEdge> => {
      const name = certificates[index]
      return startEdge({
        arguments: ['--backend', `http://${backend.address}`, '--no-redirect', '--waf', 'off'],
        environment: {
          TLS_CERT_FILE: join(folder, `${name}.crt`),
          TLS_KEY_FILE: join(folder, `${name}.key`),
          EDGE_WIRE_THREADS: '2',
          EDGE_QUIC_NEIGHBOURS_LISTEN: `127.0.0.1:${ports[index]}`,
          EDGE_QUIC_NEIGHBOURS_MEET: `localhost:${service.port}`,
          EDGE_DRAIN_DELAY: '1s',
        },
      })
    }
    const [old, next] = await Promise.all([start(0), start(1)])
    const node = await startUdpNode(old.httpsPort)
    return new Update({ old, next, node }, () => service.close())
  }

  /** Clients behind a NAT that rebinds, while the old program drains beside the new one. */
  async run(flags: readonly string[]): Promise<LossCounts> {
    const load = ['-protocols', 'h3', '-rebind', '1500ms', '-downloads', '2', '-pause', '5ms']
    const sizes = ['-download-bytes', String(2 << 20), '-download-pause', '60ms']
    const to = ['-https', `127.0.0.1:${this.node.port}`, '-connections', '2']
    const client = startGo<LossCounts>(['loss', ...to, ...load, ...sizes, ...flags])
    await until(
      'connections of the old one',
      async () => (await counted(this.old, 'accepted')) >= 8,
    )
    this.node.leadTo(this.next.httpsPort)
    const ended = this.old.stop()
    const isNext = async () => (await counted(this.next, 'accepted')) >= 8
    await until('connections of the next one', isNext, 40_000)
    await ended
    return client.finish()
  }

  async stop(): Promise<void> {
    await Promise.all([this.old.stop(), this.next.stop()])
    this.node.close()
    this.#closeService()
  }
}

/** A counter of QUIC; 0 until it is counted. */
async function counted({ statusPort }: RunningEdge, name: string): Promise<number> {
  const value = await metric(statusPort, `edge_quic_${name}_total`)
  return Number.isNaN(value) ? 0 : value
}

test('a client whose port changes in an update loses nothing', async () => {
  const update = await Update.start(['own', 'own'])
  try {
    const { old, next } = update
    await until('old: met_neighbours', async () => (await counted(old, 'met_neighbours')) > 0)
    await until('next: met_neighbours', async () => (await counted(next, 'met_neighbours')) > 0)
    const counts = await update.run([])
    expect(losses(counts)).toEqual([])
    expect(await counted(next, 'forwarded_neighbours')).toBeGreaterThan(0)
    expect(await counted(next, 'returned_neighbours')).toBeGreaterThan(0)
    expect(await counted(next, 'refused_neighbours')).toBe(0)
  } finally {
    await update.stop()
  }
}, 120_000)

test('programs with other keys do not know each other, and take nothing', async () => {
  const update = await Update.start(['own', 'foreign'])
  try {
    const { old, next } = update
    await until(
      'old: refused_neighbours',
      async () => (await counted(old, 'refused_neighbours')) > 0,
    )
    await until(
      'next: refused_neighbours',
      async () => (await counted(next, 'refused_neighbours')) > 0,
    )
    const counts = await update.run(['-timeout', '2s'])
    expect(losses(counts).join('\n')).toContain('h3 rebound downloads')
    expect(await counted(next, 'met_neighbours')).toBe(0)
    expect(await counted(next, 'forwarded_neighbours')).toBe(0)
  } finally {
    await update.stop()
  }
}, 120_000)
