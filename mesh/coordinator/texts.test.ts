import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { delta, snapshot } from '../entry.ts'
import { meshLimits } from '../limits.ts'
import { emptyView, hashOf, type View, viewOf, withDelta } from '../view.ts'
import { type Candidate, Registry } from './registry.ts'
import { type Piece, StreamTexts } from './texts.ts'

const networks = { ipv4: '10.96.0.0/16', ipv6: 'fd00::/64' }
const nowMs = 1_000_000
let folder = ''
let files = 0
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-texts-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** A mesh that tests change by numbers of nodes. */
class TestMesh {
  readonly #file = join(folder, `${(files += 1)}.sqlite`)
  registry = new Registry(this.#file, networks)
  texts = new StreamTexts(this.registry)
  #identities = 0
  readonly #tokens = new Map<boolean, string>()
  /** Their ids, by number. */
  readonly ids = new Map<number, string>()

  put(number: number, isLeaf: boolean): void {
    const before = this.ids.get(number)
    if (before !== undefined) {
      const { identity = '' } = this.registry.entry(before) ?? {}
      this.registry.update(before, candidate(number, identity, { port: (this.#identities += 1) }))
      return
    }
    const identity = Buffer.alloc(32, `${(this.#identities += 1)} `).toString('base64')
    const { id } = this.registry.join(candidate(number, identity), this.#token(isLeaf), nowMs)
    this.ids.set(number, id)
  }

  remove(number: number): void {
    if (this.ids.delete(number)) this.registry.revoke(`node-${number}`, nowMs)
  }

  restart(): void {
    this.registry.close()
    this.registry = new Registry(this.#file, networks)
    this.texts = new StreamTexts(this.registry)
  }

  #token(isLeaf: boolean): string {
    const labels: Record<string, string> = isLeaf ? { role: 'leaf' } : {}
    const order = { uses: 100_000, expiresAtMs: nowMs + 1, labels, cidrs: [], nowMs }
    const made = this.#tokens.get(isLeaf) ?? this.registry.createToken({ pin: pin, ...order })
    this.#tokens.set(isLeaf, made)
    return made
  }
}

const pin = 'p'.repeat(43)

function candidate(number: number, identity: string, more: object = {}): Candidate {
  const name = `node-${number}`
  const record = { name, key: identity, port: 1, endpoint: null, advertise: [], ...more, serial: 1 }
  const signed = { record: JSON.stringify(record), signature: '' }
  return { identity, signed, record, observed: null }
}

/** As its stream has them. */
function textsOf(piece: Piece | null): string[] {
  return (piece?.parts ?? []).map(({ own, shared }) => own + String(shared))
}

/** What an agent knows after a piece; what stands half in it takes nothing away. */
function taken(view: View, piece: Piece | null): View {
  const text = textsOf(piece).join('')
  return text.split('\n\n').reduce((before, block) => {
    const [, name = '', body = ''] = /^event: (\S+)\ndata: (.*)$/.exec(block) ?? []
    if (name === '') return before
    const plain = name.endsWith('gzip') ? String(gunzipSync(Buffer.from(body, 'base64'))) : body
    const value: unknown = JSON.parse(plain)
    const next = name === 'delta' ? withDelta(before, delta.parse(value)) : null
    if (name === 'delta') expect(next).not.toBeNull()
    return next ?? viewOf(snapshot.parse(value))
  }, view)
}

const step = fc.record({
  number: fc.integer({ min: 1, max: 6 }),
  act: fc.constantFrom('put', 'put', 'put leaf', 'remove', 'restart', 'listen'),
})

test('whatever happens, each agent comes to know what concerns it, and no more', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const mesh = new TestMesh()
      const views = new Map<string, View>()
      const listen = (number: number): void => {
        const id = mesh.ids.get(number)
        if (id === undefined) return
        const listener = { id, isLeaf: mesh.registry.isLeaf(id) }
        const before = views.get(id) ?? emptyView
        const view = taken(before, mesh.texts.after(listener, before.version))
        views.set(id, view)
        const concerns = mesh.registry
          .entries(listener.isLeaf ? 'core' : 'all')
          .filter((entry) => entry.id !== id)
        const own = mesh.registry.entry(id)
        if (own !== undefined) concerns.push(own)
        expect([...view.entries.keys()].toSorted()).toEqual(concerns.map((e) => e.id).toSorted())
        expect(view.hash).toBe(hashOf(concerns))
        expect(mesh.texts.hashFor(listener)).toBe(view.hash)
      }
      for (const { number, act } of steps) {
        if (act === 'restart') mesh.restart()
        else if (act === 'remove') mesh.remove(number)
        else if (act === 'listen') listen(number)
        else mesh.put(number, act === 'put leaf')
      }
      for (const number of [1, 2, 3, 4, 5, 6]) listen(number)
      mesh.registry.close()
    }),
    { numRuns: 40 },
  )
}, 60_000)

test('agents with the same interest are sent the same bytes', () => {
  const mesh = new TestMesh()
  for (const number of [1, 2, 3, 4, 5]) mesh.put(number, number > 1)
  const ids = [2, 3, 4].map((number) => mesh.ids.get(number) ?? '')
  const { version } = mesh.registry
  const piece = (id: string) => mesh.texts.after({ id, isLeaf: true }, version)
  mesh.put(5, true)
  expect(ids.map(piece)).toEqual([null, null, null])
  mesh.put(1, false)
  const bodies = ids.map((id) => piece(id)?.parts[0]?.shared)
  expect(new Set(bodies).size).toBe(1) // made once: the same object
  expect(String(bodies[0])).toContain('"name\\":\\"node-1')
  mesh.registry.close()
})

test('a table is made once for many, compressed, and what came since follows it', () => {
  const mesh = new TestMesh()
  for (let number = 1; number <= 300; number += 1) mesh.put(number, false)
  const id = mesh.ids.get(7) ?? ''
  const first = mesh.texts.after({ id, isLeaf: false }, null)
  expect(first?.kind).toBe('snapshot')
  expect(textsOf(first)[0]).toMatch(/^event: snapshot-gzip\n/)
  mesh.put(8, false)
  const second = mesh.texts.after({ id, isLeaf: false }, null)
  expect(second?.parts[0]?.shared).toBe(first?.parts[0]?.shared)
  expect(taken(emptyView, second).hash).toBe(mesh.registry.hash)
  // Most of the table changed since then: the whole of it is less.
  expect(meshLimits.snapshotChangesMax).toBeLessThan(300)
  expect(mesh.texts.after({ id, isLeaf: false }, 0)?.kind).toBe('snapshot')
  expect(mesh.texts.after({ id, isLeaf: false }, 100)?.kind).toBe('delta')
  mesh.registry.close()
}, 60_000)
