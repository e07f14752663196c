/** The kinds of values in `edge.yaml`: what is accepted, what becomes of it, the mend. */
import { isIP } from 'node:net'
import { z } from 'zod'
import { nodeNamePattern } from '../../mesh/entry.ts'
import { bareHost } from '../host-port.ts'

/** How a wrong value is mended, by the schema of the value. */
export const mends = z.registry<{ mend: string }>()

/** Strings that name files: relative ones are resolved against the place they were written in. */
export const paths = z.registry<{ kind: 'file' | 'socket' }>()

const hostNamePattern = /^[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_-]{1,63})*$/

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message })
  return z.NEVER
}

const durationMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const
const sizeBytes = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

/** `30s`, `250ms`, `2m`; a bare number is milliseconds. Becomes milliseconds, at most a day. */
export function duration(leastMs = 0) {
  const least = leastMs === 0 ? '' : ` at least ${leastMs}ms,`
  return quantity('duration', durationMs, { least: leastMs, most: 24 * durationMs.h }).register(
    mends,
    { mend: `write a number with ms, s, m or h,${least} at most 24h, for example 30s` },
  )
}

/** `10MiB`, `64KiB`, `512B`; a bare number is bytes. Becomes bytes, at most 1 TiB. */
export function size() {
  return quantity('size', sizeBytes, { least: 0, most: 1024 * sizeBytes.GiB }).register(mends, {
    mend: 'write a number with B, KiB, MiB or GiB, for example 10MiB',
  })
}

interface Bounds {
  readonly least: number
  readonly most: number
}

function quantity(kind: string, units: Readonly<Record<string, number>>, bounds: Bounds) {
  return z.union([z.string(), z.number()]).transform((value, context): number => {
    const parts = /^(\d+(?:\.\d+)?)\s*([a-zA-Z]*)$/.exec(String(value).trim())
    const unit = parts?.[2] === '' ? 1 : units[parts?.[2] ?? '']
    if (parts === null || unit === undefined) return refuse(context, `"${value}" is not a ${kind}`)
    const amount = Math.round(Number(parts[1]) * unit)
    if (amount < bounds.least) return refuse(context, `"${value}" is too small a ${kind}`)
    return amount <= bounds.most ? amount : refuse(context, `"${value}" is too large a ${kind}`)
  })
}

/** A whole number within bounds. */
export function count(least: number, most: number) {
  return z
    .int()
    .min(least)
    .max(most)
    .register(mends, {
      mend: `write a whole number from ${least} to ${most}`,
    })
}

/** A number of threads, or `auto`: one for each processor. */
export function threads() {
  return z.union([z.int().min(1).max(64), z.literal('auto')]).register(mends, {
    mend: 'write a whole number from 1 to 64, or auto',
  })
}

/** `true` or `false`. */
export function flag() {
  return z.boolean().register(mends, { mend: 'write true or false' })
}

/** One of a few words. */
export function choice<const T extends readonly [string, ...string[]]>(words: T) {
  return z.enum(words).register(mends, { mend: `write one of: ${words.join(', ')}` })
}

/** `HOST:PORT`, by name or address. */
export function serviceEndpoint() {
  return z
    .string()
    .transform((value, context): string => {
      const [, host = '', port = ''] = /^(\[[0-9a-f:.]+\]|[^:\s/]+):(\d{1,5})$/i.exec(value) ?? []
      const name = bareHost(host).toLowerCase()
      const isHost = isIP(name) !== 0 || hostNamePattern.test(name)
      const isPort = Number(port) >= 1 && Number(port) <= 65_535
      return isHost && isPort ? value.toLowerCase() : refuse(context, `"${value}" is no HOST:PORT`)
    })
    .register(mends, { mend: 'write a name or address and a port, for example edge-waf:9001' })
}

/** A file or folder. */
export function path() {
  return z
    .string()
    .min(1)
    .register(mends, { mend: 'write the path of a file, in quotes when it looks like a number' })
    .register(paths, { kind: 'file' })
}

/** A name that log lines and metrics carry. */
export function name() {
  return z
    .string()
    .regex(/^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62})$/, 'not a name')
    .register(mends, { mend: 'write 1 to 63 letters, digits, dots, dashes or underscores' })
}

/** `0.0.0.0:8443`, `[::]:443`, `:8080`, `8080`. Becomes `host:port` with an IP address. */
export function address() {
  return z
    .union([z.string(), z.number()])
    .transform((value, context): string => {
      const written = socketAddress(String(value))
      return written ?? refuse(context, `"${value}" is not an address with a port (0 to 65535)`)
    })
    .register(mends, { mend: 'write ADDRESS:PORT with an IP address, for example 0.0.0.0:8443' })
}

/** `host:port` with an IP address, null when the text is none. */
export function socketAddress(text: string): string | null {
  const parts = /^(?:(\[[^\]]+\]|[^:]*):)?(\d{1,5})$/.exec(text.trim())
  if (parts === null || Number(parts[2]) > 65_535) return null
  const host = parts[1] === undefined || parts[1] === '' || parts[1] === '*' ? '0.0.0.0' : parts[1]
  const port = Number(parts[2])
  if (host === 'localhost') return `127.0.0.1:${port}`
  if (host.startsWith('[')) return isIP(host.slice(1, -1)) === 6 ? `${host}:${port}` : null
  return isIP(host) === 4 ? `${host}:${port}` : null
}

/** Where the admin API listens: loopback or a Unix socket, since it has no password. */
export function adminAddress() {
  return z
    .string()
    .transform((value, context): string => {
      if (/^unix:./.test(value)) return value
      const written = socketAddress(value)
      if (written === null) return refuse(context, `"${value}" is not an address with a port`)
      const isLoopback = written.startsWith('127.') || written.startsWith('[::1]:')
      return isLoopback ? written : refuse(context, `"${value}" is not a loopback address`)
    })
    .register(mends, { mend: 'write 127.0.0.1:PORT, [::1]:PORT or unix:/path/to/socket' })
    .register(paths, { kind: 'socket' })
}

/** An address range; a single address stands for itself. */
export function network() {
  return z
    .string()
    .transform((value, context): string => {
      const [base = '', bits, more] = value.split('/')
      const widest = isIP(base) === 4 ? 32 : 128
      const isRange = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= widest)
      if (isIP(base) === 0 || !isRange || more !== undefined) {
        return refuse(context, `"${value}" is not an address range`)
      }
      return `${base}/${bits ?? widest}`
    })
    .register(mends, { mend: 'write a CIDR such as 10.0.0.0/8 or 2001:db8::/32' })
}

/** `''` for any host, a name, `*.example.org`, or an IP address. Becomes lower-case. */
export function hostPattern() {
  return z
    .string()
    .transform((value, context): string => {
      const host = value.toLowerCase()
      const bare = host.startsWith('*.') ? host.slice(2) : host
      const isName = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_-]{1,63})*$/.test(
        bare,
      )
      const isAddress = isIP(bareHost(host)) !== 0
      if (host === '' || isName || isAddress) return host
      return refuse(context, `"${value}" is not a host`)
    })
    .register(mends, {
      mend: 'write a name without port (shop.example.org), *.example.org, or "" for any host',
    })
}

/** The path prefix of a route. */
export function pathPrefix() {
  return z
    .string()
    .regex(/^\/[^?#\s]*$/, 'not a path prefix')
    .register(mends, { mend: 'write a path that begins with / and has no ? or #' })
}

/** `http://host:port`, `https://host:port` or `mesh://node:port` of a backend. */
export function endpointUrl() {
  return z
    .string()
    .transform((value, context): string => {
      const url = URL.canParse(value) ? new URL(value) : null
      if (url === null) return refuse(context, `"${value}" is not a URL`)
      if (url.protocol === 'mesh:') {
        return meshUrl(url) ?? refuse(context, `"${value}" has more or less than a node and a port`)
      }
      const port = defaultPorts[url.protocol]
      if (port === undefined) return refuse(context, `"${value}" is not an http, https or mesh URL`)
      const { pathname, search, hash, username, password } = url
      if (pathname !== '/' || `${search}${hash}${username}${password}` !== '') {
        return refuse(context, `"${value}" has more than a host and a port`)
      }
      return `${url.protocol}//${url.hostname}:${url.port || port}`
    })
    .register(mends, {
      mend:
        'write http://HOST:PORT, https://HOST:PORT or mesh://NODE:PORT, ' +
        'for example http://127.0.0.1:3000',
    })
}

/** Null unless it is a name of a node and a port; HTTP in clear, as the tunnel encrypts it. */
function meshUrl(url: URL): string | null {
  const node = url.hostname.toLowerCase()
  const rest = `${url.search}${url.hash}${url.username}${url.password}`
  const isBare = rest === '' && ['', '/'].includes(url.pathname)
  const isWhole = isBare && nodeNamePattern.test(node) && url.port !== ''
  return isWhole ? `mesh://${node}:${url.port}` : null
}

const defaultPorts: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 }

/** The name or address of a server, without port. Becomes lower-case. */
export function hostName() {
  return z
    .string()
    .transform((value, context): string => {
      const host = value.toLowerCase()
      if (hostNamePattern.test(host) || isIP(host) !== 0) return host
      return refuse(context, `"${value}" is not a name or an address`)
    })
    .register(mends, { mend: 'write a name without port, for example shop.internal' })
}

/** A path with an optional query, as a probe asks for it. */
export function targetPath() {
  return z
    .string()
    .regex(/^\/[!-"$-~]*$/, 'not a path')
    .register(mends, { mend: 'write a path that begins with /, for example /health?full=1' })
}

/** `200-399` or `204`. Becomes its two ends. */
export function statusRange() {
  return z
    .union([z.string(), z.number()])
    .transform((value, context): { readonly from: number; readonly to: number } => {
      const [, first = '', last = first] = /^(\d{3})(?:-(\d{3}))?$/.exec(String(value)) ?? []
      const range = { from: Number(first), to: Number(last) }
      const isRange = range.from >= 100 && range.from <= range.to && range.to <= 599
      return isRange ? range : refuse(context, `"${value}" is not a range of statuses`)
    })
    .register(mends, { mend: 'write FROM-TO or one status, from 100 to 599, for example 200-399' })
}

/** What `balance: hash` looks at. */
export type HashKey =
  | { readonly kind: 'client-address' | 'path' }
  | { readonly kind: 'header' | 'cookie'; readonly name: string }

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/

/** `client-address`, `path`, `header:NAME` or `cookie:NAME`. */
export function hashKey() {
  return z
    .string()
    .transform((value, context): HashKey => {
      if (value === 'client-address' || value === 'path') return { kind: value }
      const colon = value.indexOf(':')
      const kind = value.slice(0, colon)
      const named = value.slice(colon + 1)
      if (!token.test(named)) return refuse(context, `"${value}" is not something to hash`)
      // Field names have no case (RFC 9110 §5.1); cookie names have (RFC 6265 §4.1.1).
      if (kind === 'header') return { kind, name: named.toLowerCase() }
      if (kind === 'cookie') return { kind, name: named }
      return refuse(context, `"${value}" is not something to hash`)
    })
    .register(mends, { mend: 'write client-address, path, header:NAME or cookie:NAME' })
}

/** The name of a cookie. */
export function cookieName() {
  return z
    .string()
    .regex(token, 'not the name of a cookie')
    .register(mends, { mend: 'write 1 to 128 letters, digits, dashes or underscores' })
}
