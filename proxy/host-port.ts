/** `HOST:PORT` in its parts, and back: an IPv6 address has brackets there, and none by itself. */
import { isIP } from 'node:net'

/** A place to connect to or to listen at. */
export interface HostPort {
  /** Without brackets; '' when only the port was written. */
  readonly host: string
  readonly port: number
}

/** The parts of `HOST:PORT`, which was checked before. */
export function hostPortOf(text: string): HostPort {
  const colon = text.lastIndexOf(':')
  return { host: bareHost(text.slice(0, colon)), port: Number(text.slice(colon + 1)) }
}

/** `HOST:PORT` as URLs and the wire have it. */
export function hostPortText({ host, port }: HostPort): string {
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`
}

/** A host without the brackets of an IPv6 address. */
export function bareHost(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1')
}
