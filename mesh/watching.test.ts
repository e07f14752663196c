import { expect, test } from 'vitest'
import { meshLimits } from './limits.ts'
import { nodeOf, statsOf } from './node.fixture.ts'
import type { MeshNode } from './topology.ts'
import { Watch } from './watching.ts'

const { wakeSilentMs } = meshLimits
const [first, second] = [nodeOf(2), nodeOf(3)]
const watched = new Map([first, second].map((node) => [node.key, node]))

class Scene {
  readonly told: string[] = []
  unansweredMs: number | null = null
  readonly watch = new Watch({
    device: {
      stats: async () => [statsOf({ publicKey: first.key, unansweredMs: this.unansweredMs })],
    },
    silentMs: 5_000,
    watched: () => watched,
    changed: async () => void this.told.push(`silent: ${[...this.watch.silent].join(' ')}`),
    wake: async (nodes: readonly MeshNode[]) => {
      this.told.push(`asks ${nodes.map(({ name }) => name).join(' ')}`)
    },
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
  })

  async after(unansweredMs: number | null, nowMs: number): Promise<readonly string[]> {
    this.unansweredMs = unansweredMs
    await this.watch.look(watched, nowMs)
    return this.told.splice(0)
  }
}

test('who leaves packets unanswered for too long is silent, and asked now and then', async () => {
  const scene = new Scene()
  expect(await scene.after(null, 0)).toEqual([])
  expect(await scene.after(4_999, 0)).toEqual([])
  expect(await scene.after(5_000, 0)).toEqual([`silent: ${first.id}`, 'asks node-2'])
  expect(await scene.after(6_000, wakeSilentMs - 1)).toEqual([])
  expect(await scene.after(7_000, wakeSilentMs)).toEqual(['asks node-2'])
})

test('one answer is enough to be taken again', async () => {
  const scene = new Scene()
  await scene.after(5_000, 0)
  expect(await scene.after(null, 1)).toEqual(['silent: '])
  expect(scene.watch.silent.size).toBe(0)
})

test('nobody is silent for whom nobody stands in', async () => {
  const scene = new Scene()
  await scene.after(5_000, 0)
  await scene.watch.look(new Map(), 1)
  expect(scene.told).toContain('silent: ')
})
