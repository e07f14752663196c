/**
 * One end of a tunnel of ours, for bench/mesh.ts: options as JSON in the first argument, then one
 * line on stdin for each step, a delta as JSON or `stats`. Each is answered with its milliseconds.
 */
import { createInterface } from 'node:readline'
import { openDevice } from '../mesh/device.ts'
import type { DeviceOptions } from '../mesh/device.ts'
import type { DeviceDelta } from '../mesh/reconcile.ts'

const device = await openDevice(JSON.parse(process.argv[2] ?? '') as DeviceOptions)
console.log('ready')
for await (const line of createInterface({ input: process.stdin })) {
  const began = performance.now()
  if (line === 'stats') await device.stats()
  else await device.apply(JSON.parse(line) as DeviceDelta)
  console.log(performance.now() - began)
}
await device.close()
