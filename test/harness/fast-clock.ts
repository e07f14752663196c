/**
 * Loaded before a program (`--import`): its time goes as fast as a file says, a number that tests
 * change while it runs. An hour of waiting then takes seconds, among real programs and packets.
 * Clocks and timers that begin from then on are fast; those of sockets stay what they are.
 */
import { readFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import timers from 'node:timers'
import promises from 'node:timers/promises'

const file = process.env['EDGE_TEST_SPEED'] ?? ''
const lookMs = 100
const { now } = Date
const { setTimeout, setInterval } = globalThis
const performanceNow = performance.now.bind(performance)
const sleep = promises.setTimeout

/** How fast, and by how much the program's time is ahead since. */
let speed = 1
let sinceMs = performanceNow()
let aheadMs = 0

function ahead(): number {
  return aheadMs + (performanceNow() - sinceMs) * (speed - 1)
}

function look(): void {
  const wanted = Number(readFileSync(file, 'utf8'))
  if (wanted === speed || !(wanted >= 1)) return
  aheadMs = ahead()
  sinceMs = performanceNow()
  speed = wanted
}

Date.now = () => now() + Math.round(ahead())
performance.now = () => performanceNow() + ahead()
globalThis.setTimeout = new Proxy(setTimeout, {
  apply(target, self, [act, ms = 0, ...args]: readonly unknown[]) {
    return Reflect.apply(target, self, [act, Number(ms) / speed, ...args])
  },
})
timers.setTimeout = globalThis.setTimeout
promises.setTimeout = (ms = 0, value, options) => sleep(ms / speed, value, options)
syncBuiltinESMExports()
setInterval(look, lookMs).unref()
