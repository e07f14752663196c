/** Whether this machine can carry packets between other nodes. */
import { readFileSync } from 'node:fs'
import type { MeshMode } from './mode.ts'

/**
 * Our own devices forward by themselves; the kernel's WireGuard leaves that to the kernel, which
 * does it where it was told to: of IPv6 only where all of the machine does.
 */
export function canForward(mode: MeshMode, interfaceName: string): boolean {
  if (mode !== 'kernel') return true
  const isOn = (file: string): boolean | null => flagOf(`/proc/sys/net/${file}`)
  const byIpv4 = isOn(`ipv4/conf/${interfaceName}/forwarding`) === true
  // A machine without IPv6 has no such file.
  return byIpv4 && isOn('ipv6/conf/all/forwarding') !== false
}

function flagOf(file: string): boolean | null {
  try {
    return readFileSync(file, 'latin1').trim() === '1'
  } catch {
    return null
  }
}
