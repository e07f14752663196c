/** Which mode a machine comes to, and what is said where the wanted one cannot be had. */
import { expect, test } from 'vitest'
import type { Device, DeviceOptions } from './device.ts'
import { MeshFault } from './fault.ts'
import { meshModes, type ModeOptions, openMode, type WantedMode } from './mode.ts'

const device: Device = {
  apply: async () => [],
  stats: async () => [],
  close: async () => undefined,
}

type Refusals = Partial<Record<DeviceOptions['mode'], string>>

/** Opens on a machine that refuses some modes with these codes. */
async function opened(wanted: WantedMode, refusals: Refusals, more: Partial<ModeOptions> = {}) {
  const told: unknown[] = []
  const tried: string[] = []
  const note = (fields: object): void => void told.push(fields)
  const { mode } = await openMode({
    wanted,
    log: { info: note, warn: note, error: note },
    interface: 'edge0',
    privateKey: '',
    port: 1,
    mtu: 1420,
    serve: [],
    door: '',
    open: async (options) => {
      tried.push(options.mode)
      const code = refusals[options.mode]
      if (code === undefined) return device
      throw new MeshFault(code, { where: 'here', message: code.toLowerCase(), mend: '' })
    },
    ...more,
  })
  return { mode, tried, told }
}

const cases: readonly (readonly [Refusals, string])[] = [
  [{}, 'kernel'],
  [{ kernel: 'NO_MODULE' }, 'tun'],
  [{ kernel: 'NO_MODULE', tun: 'NO_TUN' }, 'netstack'],
  [{ kernel: 'SYSTEM' }, 'tun'],
  [{ kernel: 'NOT_PERMITTED', tun: 'NOT_PERMITTED' }, 'netstack'],
]
for (const [refusals, mode] of cases) {
  test(`auto comes to ${mode} where ${JSON.stringify(refusals)}`, async () => {
    expect((await opened('auto', refusals)).mode).toBe(mode)
  })
}

test('auto says what stood in the way of the better ones', async () => {
  const { told } = await opened('auto', { kernel: 'NO_MODULE' })
  expect(told).toEqual([{ mode: 'tun', reasons: ['kernel: here: no_module'] }])
})

test('what is no lack of the system is told, and nothing else is tried', async () => {
  for (const code of ['INTERFACE_TAKEN', 'PORT_TAKEN']) {
    await expect(opened('auto', { kernel: code })).rejects.toMatchObject({ code })
  }
  const tun = opened('auto', { kernel: 'NO_MODULE', tun: 'SYSTEM' })
  await expect(tun).rejects.toMatchObject({ code: 'SYSTEM' })
})

test('a mode that is wanted by name is tried alone', async () => {
  for (const mode of meshModes) expect((await opened(mode, {})).tried).toEqual([mode])
  const refused = opened('kernel', { kernel: 'NO_MODULE' })
  await expect(refused).rejects.toMatchObject({ code: 'NO_MODULE' })
})

test('auto is never the kernel where relays are needed; by name it is', async () => {
  const { tried, told } = await opened('auto', {}, { needsRelays: true })
  expect(tried).toEqual(['tun'])
  expect(told).toEqual([{ mode: 'tun', reasons: [expect.stringContaining('it knows no relays')] }])
  expect((await opened('kernel', {}, { needsRelays: true })).mode).toBe('kernel')
})
