/** What this machine reaches without the mesh: the kernel's own tables of routes. */
import { readFileSync } from 'node:fs'
import { addressText, prefixText } from './prefix.ts'

/** A route that is not the default one. */
export interface LocalRoute {
  readonly prefix: string
  readonly device: string
}

export function localRoutes(): readonly LocalRoute[] {
  return [...routes4(textOf('/proc/net/route')), ...routes6(textOf('/proc/net/ipv6_route'))]
}

/** Each line: device, destination and mask, both as the machine has them in memory. */
export function routes4(text: string): LocalRoute[] {
  return text.split('\n').flatMap((line) => {
    const [device = '', destination = '', , , , , , mask = ''] = line.split('\t')
    if (!/^[0-9A-F]{8}$/.test(destination) || !/^[0-9A-F]{8}$/.test(mask)) return []
    const length = bitsSet(Buffer.from(mask, 'hex'))
    if (length === 0) return []
    const value = BigInt(`0x${Buffer.from(destination, 'hex').reverse().toString('hex')}`)
    return [{ prefix: prefixText({ family: 4, value, length }), device }]
  })
}

/** Each line: destination, its length in hex, and the device at the end. */
export function routes6(text: string): LocalRoute[] {
  return text.split('\n').flatMap((line) => {
    const words = line.trim().split(/\s+/)
    const [destination = '', digits = ''] = words
    const length = Number.parseInt(digits, 16)
    if (words.length < 10 || !(length > 0)) return []
    const value = BigInt(`0x${destination}`)
    const isLocal = /^f[ef]/.test(addressText({ family: 6, value }))
    return isLocal
      ? []
      : [{ prefix: prefixText({ family: 6, value, length }), device: words.at(-1) ?? '' }]
  })
}

function bitsSet(bytes: Buffer): number {
  return [...bytes].reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)
}

/** A machine without IPv6 has no such file. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}
