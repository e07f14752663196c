/** What a device that is no agent is told of nodes that it cannot reach by itself. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { passingIdentity, signRecord } from '../identity.ts'
import { joinForeign, wgQuickText } from './foreign.ts'
import { type CoordinatorState, openState } from './state.ts'

let folder = ''
let state: CoordinatorState
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-foreign-'))
  state = await openState(folder)
})
afterEach(() => {
  state.registry.close()
  rmSync(folder, { recursive: true })
})

/** A node that the coordinator sees at one address and that has these ones. */
async function node(name: string, observed: string, candidates: readonly string[]): Promise<void> {
  const { registry, pin } = state
  const own = await passingIdentity()
  const { publicKey: key } = own.wireguard
  const times = { nowMs: 0, expiresAtMs: 1_000 }
  const token = registry.createToken({ pin, uses: 1, labels: {}, cidrs: [], ...times })
  const facts = { name, key, port: 51_820, endpoint: null, advertise: [], serial: 1 }
  const record = { ...facts, candidates: [...candidates] }
  registry.join(
    { identity: own.identity, signed: signRecord(own, record), record, observed },
    token,
    0,
  )
}

test('a node behind a NAT is named as one', async () => {
  await node('open', '192.0.2.1', ['192.0.2.1:51820'])
  await node('hidden', '192.0.2.2', ['192.168.1.5:51820'])
  const peer = await joinForeign(state, 'phone', 1)
  expect(peer.peers.map(({ name, isBehindNat }) => [name, isBehindNat])).toEqual([
    ['open', false],
    ['hidden', true],
  ])
  expect(wgQuickText(peer)).toMatch(/^# open\n[^]*^# hidden: behind a NAT, /m)
})
