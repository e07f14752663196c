/** Where a gateway listens. */
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
import { MeshFault } from '../../mesh/fault.ts'
import { reasonOf } from '../../waf/reason-of.ts'
import { UsageError } from '../config/faults.ts'
import { socketAddress } from '../config/fields.ts'

/** An address or the path of a Unix socket. */
export interface Door {
  readonly flag: string
  readonly at: { readonly path: string } | { readonly host: string; readonly port: number }
  /** Only this machine gets there. */
  readonly isLocal: boolean
}

/** `ADDR:PORT` or `unix:PATH`. */
export function doorOf(flag: string, text: string): Door {
  const path = /^unix:(.+)$/.exec(text)?.[1]
  if (path !== undefined) return { flag, at: { path }, isLocal: true }
  const address = socketAddress(text)
  if (address === null)
    throw new UsageError(`${flag}: "${text}" is neither ADDR:PORT nor unix:PATH`)
  const colon = address.lastIndexOf(':')
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
  const isLocal = host === '::1' || host.startsWith('127.')
  return { flag, at: { host, port: Number(address.slice(colon + 1)) }, isLocal }
}

/** Listens; where, as text. */
export async function opened(server: Server, { flag, at }: Door): Promise<string> {
  if ('path' in at) rmSync(at.path, { force: true }) // of one that died
  try {
    server.listen(at)
    await once(server, 'listening')
  } catch (error) {
    throw new MeshFault('LISTEN_FAILED', {
      where: flag,
      message: reasonOf(error),
      mend: 'choose an address of this machine and a port that nobody has',
    })
  }
  const bound = server.address()
  if (bound === null || typeof bound === 'string') return `unix:${bound}`
  return `${bound.address.includes(':') ? `[${bound.address}]` : bound.address}:${bound.port}`
}

/** What agents must know: the text of `--secret-file`. */
export function secretIn(file: string | undefined): string | null {
  if (file === undefined) return null
  try {
    const text = readFileSync(file, 'utf8').trim()
    if (text !== '') return text
  } catch (error) {
    throw new UsageError(`--secret-file: ${reasonOf(error)}`, { cause: error })
  }
  throw new UsageError('--secret-file: the file is empty')
}
