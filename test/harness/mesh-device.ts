/**
 * A device of ours on its own, on one machine of a test: options as JSON in the first argument,
 * then one line on stdin for each step, a delta as JSON or `stats`. Each is answered with a line.
 */
import { createInterface } from 'node:readline'
import { openDevice } from '../../mesh/device.ts'
import type { DeviceOptions } from '../../mesh/device.ts'
import type { DeviceDelta } from '../../mesh/reconcile.ts'

/** What a step gave: refused ranges, or statistics. */
export interface StepAnswer {
  readonly ms: number
  readonly answer: readonly Readonly<Record<string, unknown>>[]
}

const device = await openDevice(JSON.parse(process.argv[2] ?? '') as DeviceOptions)
console.log('ready')
for await (const line of createInterface({ input: process.stdin })) {
  const began = performance.now()
  const answer =
    line === 'stats' ? await device.stats() : await device.apply(JSON.parse(line) as DeviceDelta)
  const ms = performance.now() - began
  console.log(JSON.stringify({ ms, answer: answer.slice(0, 10) }))
}
await device.close()
