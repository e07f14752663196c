/** A few machines on one: network namespaces behind a small switch. Needs root and `ip`. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** Machines with an address of both families each: 10.77.0.N and fd77::N, N from 1. */
export interface Machines {
  /** The namespace of machine N. */
  readonly names: readonly string[]
  /** Starts a program on one of them. */
  spawn(machine: number, program: string, args: readonly string[]): ChildProcess
  /** Runs `ip` on one of them. */
  ip(machine: number, ...args: readonly string[]): string
  remove(): void
}

/** What is missing for it here; empty: nothing. */
export function missingForMachines(): string {
  const hasIp = spawnSync('ip', ['-Version']).status === 0
  const wanted: readonly (readonly [boolean, string])[] = [
    [process.getuid?.() === 0, 'root'],
    [existsSync('/dev/net/tun'), '/dev/net/tun'],
    [hasIp, 'iproute2'],
  ]
  return wanted.flatMap(([isHere, name]) => (isHere ? [] : [name])).join(' and ')
}

/** Makes them; fails with one sentence where that cannot be had. */
export function makeMachines(prefix: string, count: number): Machines {
  const missing = missingForMachines()
  if (missing !== '') throw new Error(`machines need ${missing}`)
  const bridge = `${prefix}-switch`
  const names = Array.from({ length: count }, (_, index) => `${prefix}-${index + 1}`)
  const machines: Machines = {
    names,
    spawn: (machine, program, args) =>
      spawn('ip', ['netns', 'exec', nameOf(machine), program, ...args], {
        stdio: ['pipe', 'pipe', 'pipe'],
      }),
    ip: (machine, ...args) => ip('-n', nameOf(machine), ...args),
    remove: () => {
      for (const name of [...names, bridge]) {
        if (existsSync(`/run/netns/${name}`)) ip('netns', 'delete', name)
      }
    },
  }
  const nameOf = (machine: number): string => names[machine - 1] ?? ''
  try {
    ip('netns', 'add', bridge)
    ip('-n', bridge, 'link', 'add', 'switch', 'type', 'bridge')
    ip('-n', bridge, 'link', 'set', 'switch', 'up')
    names.forEach((name, index) => plug(name, bridge, index + 1))
  } catch (error) {
    machines.remove()
    throw error
  }
  return machines
}

function plug(name: string, bridge: string, number: number): void {
  const port = `port${number}`
  ip('netns', 'add', name)
  ip('-n', bridge, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
  ip('-n', bridge, 'link', 'set', port, 'master', 'switch', 'up')
  ip('-n', name, 'link', 'set', 'lo', 'up')
  ip('-n', name, 'address', 'add', `10.77.0.${number}/24`, 'dev', 'eth0')
  // Without detection of doubles, which would take a second.
  ip('-n', name, 'address', 'add', `fd77::${number}/64`, 'dev', 'eth0', 'nodad')
  ip('-n', name, 'link', 'set', 'eth0', 'up')
}

function ip(...args: readonly string[]): string {
  return execFileSync('ip', [...args], { encoding: 'utf8', stdio: 'pipe' })
}
