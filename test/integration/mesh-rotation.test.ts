/** A key changes among real coordinators and streams; only the devices do nothing but remember. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { until } from '../harness/wait.ts'
import { CoordinatorClient } from '../../mesh/client.ts'
import { type RunningCoordinator, startCoordinator } from '../../mesh/coordinator/coordinator.ts'
import { type CoordinatorState, openState } from '../../mesh/coordinator/state.ts'
import { MeshFault } from '../../mesh/fault.ts'
import { Follower } from '../../mesh/following.ts'
import { makeFolder } from '../../mesh/folder.ts'
import { type Identity, identityOf, passingIdentity, signRecord } from '../../mesh/identity.ts'
import { recordOf } from '../../mesh/joining.ts'
import { type DeviceKeys, KeyRing } from '../../mesh/key-ring.ts'
import { meshLimits } from '../../mesh/limits.ts'
import { NodeTable } from '../../mesh/node-table.ts'
import { afterApplying, type DeviceDelta, nothingApplied, reconcile } from '../../mesh/reconcile.ts'
import { askRotation, Rotation } from '../../mesh/rotation.ts'
import { topology } from '../../mesh/topology.ts'
import { emptyView, type View } from '../../mesh/view.ts'

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
let folder = ''
let state: CoordinatorState
let running: RunningCoordinator
let ending: AbortController
const clients: CoordinatorClient[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-rotation-'))
  state = await openState(join(folder, 'coordinator'))
  running = await startCoordinator(state, { host: '127.0.0.1', port: 0, log: quiet })
  ending = new AbortController()
}, 60_000)
afterEach(async () => {
  ending.abort()
  for (const client of clients.splice(0)) await client.close()
  await running.close()
  state.registry.close()
  rmSync(folder, { recursive: true })
})

/** A node whose device remembers what it was given. */
class TestNode {
  readonly deltas: DeviceDelta[] = []
  readonly identity: Identity
  readonly name: string
  readonly client: CoordinatorClient
  view: View = emptyView

  constructor(identity: Identity, name: string) {
    this.identity = identity
    this.name = name
    this.client = new CoordinatorClient(running.address, state.pin, identity)
    clients.push(this.client)
  }

  record(keys: KeyRing['announced'], serial: number) {
    const facts = { name: this.name, port: 1, endpoint: null, advertise: [] }
    return signRecord(this.identity, recordOf(facts, keys, serial))
  }

  async begin(token: string): Promise<void> {
    await this.client.join(this.record({ key: this.identity.wireguard.publicKey }, 1), token)
    const table = new NodeTable()
    let applied = nothingApplied
    const { id } = this.identity
    const follower = new Follower({
      client: this.client,
      self: { id, name: this.name },
      url: running.address,
      log: quiet,
      view: emptyView,
      apply: async (view) => {
        this.view = view
        const place = { self: id, networks: state.registry.networks, outside: [] }
        const desired = topology(table.of(view), { ...place, isBehindNat: false })
        const delta = reconcile(applied, desired)
        if (delta !== null) this.deltas.push(delta)
        applied = afterApplying(desired, new Set())
      },
      announce: async () => undefined,
    })
    void follower.run(ending.signal)
    await until(`${this.name} follows`, () => this.view.entries.has(id))
  }
}

async function pair(): Promise<{ own: TestNode; peer: TestNode; keys: KeyRing }> {
  const nowMs = Date.now()
  const order = { pin: state.pin, uses: 2, labels: {}, cidrs: [], nowMs }
  const token = state.registry.createToken({ ...order, expiresAtMs: nowMs + 60_000 })
  makeFolder(join(folder, 'own'))
  const own = new TestNode(await identityOf(join(folder, 'own')), 'own')
  const peer = new TestNode(await passingIdentity(), 'peer')
  await own.begin(token)
  await peer.begin(token)
  return { own, peer, keys: KeyRing.of(join(folder, 'own'), own.identity, 0) }
}

test('a key changes in steps that others know of before they are taken', async () => {
  const { own, peer, keys } = await pair()
  const first = keys.announced.key
  const given: DeviceKeys[] = []
  let isPreviousUsed = true
  let serial = 1
  const rotation = new Rotation({
    folder: join(folder, 'own'),
    keys,
    log: quiet,
    announce: () => own.client.update(own.record(keys.announced, (serial += 1))),
    apply: async (one) => void given.push(one),
    isPreviousUsed: async () => isPreviousUsed,
  })
  await rotation.step(0)
  expect(keys.stage).toBe('settled')
  askRotation(join(folder, 'own'))

  await rotation.step(1_000)
  const { key: second, previousKey } = keys.announced
  expect([keys.stage, previousKey]).toEqual(['announced', first])
  expect(given).toEqual([]) // it speaks with the first one still
  const installed = peer.deltas.at(-1)
  expect(installed).toMatchObject({
    peers: [
      {
        publicKey: second,
        previousKey: first,
        allowedIps: [expect.any(String), expect.any(String)],
      },
    ],
    removePeers: [],
    removeRoutes: [],
  })

  // The answer said that the peer knows: there is nothing to wait for.
  await rotation.step(2_000)
  expect(keys.stage).toBe('switched')
  expect(given.at(-1)).toEqual(keys.device)
  expect(keys.device.previousPrivateKey).toBe(own.identity.wireguard.privateKey)

  // It is answered while somebody uses it, and some time for those who were away.
  await rotation.step(2_000 + meshLimits.rotationDropMs)
  expect(keys.stage).toBe('switched')
  isPreviousUsed = false
  await rotation.step(3_000)
  expect(keys.stage).toBe('switched')
  await rotation.step(2_000 + meshLimits.rotationDropMs)
  expect([keys.stage, given.at(-1)]).toEqual(['settled', { privateKey: keys.device.privateKey }])
  await until('the peer dropped it', () => peer.deltas.at(-1)?.removePeers.includes(first) === true)
  expect(peer.deltas.at(-1)).toMatchObject({ peers: [], removePeers: [first] })
  // And again, by itself, when the time has come.
  await rotation.step(2_000 + meshLimits.rotationDropMs + meshLimits.rotationIntervalMs)
  expect([keys.stage, keys.announced.previousKey]).toEqual(['announced', second])
}, 60_000)

test('a restart goes on from any step; what was not announced is not used', async () => {
  const place = join(folder, 'node')
  makeFolder(place)
  const identity = await identityOf(place)
  let isAway = true
  const parts = (keys: KeyRing) => ({
    folder: place,
    keys,
    log: quiet,
    announce: async (): Promise<boolean> => {
      if (isAway) throw new Error('away')
      return false
    },
    apply: async () => undefined,
    isPreviousUsed: async () => false,
  })
  const begun = KeyRing.of(place, identity, 0)
  askRotation(place)
  await expect(new Rotation(parts(begun)).step(1)).rejects.toThrow('away')
  const { announced } = begun
  const again = KeyRing.of(place, identity, 2)
  expect([again.stage, again.announced]).toEqual(['announced', announced])
  const rotation = new Rotation(parts(again))
  await expect(rotation.step(1e9)).rejects.toThrow('away')
  isAway = false
  await rotation.step(1e9)
  expect(again.stage).toBe('announced')
  await rotation.step(1e9 + 1)
  expect(again.stage).toBe('switched')
  expect(KeyRing.of(place, identity, 3).device).toEqual(again.device)
}, 60_000)

test('a key that others may not know of is not used while the coordinator is away', async () => {
  const place = join(folder, 'node')
  makeFolder(place)
  const keys = KeyRing.of(place, await identityOf(place), 0)
  let isAway = false
  const rotation = new Rotation({
    folder: place,
    keys,
    log: quiet,
    announce: async () => {
      if (isAway) throw new Error('away')
      return false // it took the record, and went before it told everybody
    },
    apply: async () => undefined,
    isPreviousUsed: async () => false,
  })
  askRotation(place)
  await rotation.step(1)
  isAway = true
  await rotation.step(2)
  await expect(rotation.step(1e9)).rejects.toThrow('away')
  await expect(rotation.step(2e9)).rejects.toThrow('away')
  expect(keys.stage).toBe('announced')
  isAway = false
  await rotation.step(2e9 + 1)
  await rotation.step(2e9 + 2)
  expect(keys.stage).toBe('switched')
}, 60_000)

test('nobody takes the key of another as the one before its own', async () => {
  const { own, peer } = await pair()
  const theirs = peer.identity.wireguard.publicKey
  const stolen = own.record({ key: own.identity.wireguard.publicKey, previousKey: theirs }, 2)
  const refusal = await own.client.update(stolen).catch((error: unknown) => error)
  expect(refusal).toBeInstanceOf(MeshFault)
  expect(refusal).toMatchObject({ code: 'KEY_FOREIGN' })
}, 60_000)
