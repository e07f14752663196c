/** Our contender of bench/mesh-netstack.ts: a device without an interface, by a file of JSON. */
import { readFileSync } from 'node:fs'
import { openDevice } from '../../mesh/device.ts'

/** What the file holds. */
export interface NodeSettings {
  readonly privateKey: string
  readonly port: number
  readonly address: string
  readonly peer: { readonly publicKey: string; readonly endpoint: string; readonly address: string }
  readonly door: string
}

if (process.argv[1] === import.meta.filename) {
  const text = readFileSync(process.argv[2] ?? '', 'utf8')
  const { privateKey, port, address, peer, door } = JSON.parse(text) as NodeSettings
  const place = { mode: 'netstack', interface: 'none', mtu: 1420, serve: [] } as const
  const device = await openDevice({ ...place, privateKey, port, door })
  const route = `${peer.address}/32`
  const { publicKey, endpoint } = peer
  await device.apply({
    addAddresses: [`${address}/32`],
    peers: [{ publicKey, allowedIps: [route], endpoint, keepaliveS: 0 }],
    removePeers: [],
    removeRoutes: [],
    addRoutes: [route],
    removeAddresses: [],
  })
  console.log('ready')
  process.on('SIGTERM', () => void device.close().then(() => process.exit(0)))
  setInterval(() => undefined, 60_000)
}
