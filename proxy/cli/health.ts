/**
 * `edge health`: whether the program on this machine is ready, which is what an `exec` probe runs;
 * with `--h3`, whether what listens at a URL answers over HTTP/3.
 */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { reasonOf } from '../../waf/reason-of.ts'
import { type Answer, ask, isAdminAddress, Unreachable } from '../admin/ask.ts'
import { UsageError } from '../config/faults.ts'
import { bareHost, hostPortText } from '../host-port.ts'
import { exitCodes } from './exit-codes.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = {
  admin: { type: 'string' },
  live: { type: 'boolean' },
  h3: { type: 'string' },
} as const

// Less than the probes of any supervisor give a command.
const timeoutMs = 4_000

// A first packet that was lost is sent again after a second, then after two.
const http3TimeoutMs = 10_000

/** Asks; exit code 0 when ready (`--live`: when it answers at all), 1 when not. */
export async function health(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge health', args, options)
  noPositionals('edge health', positionals)
  if (values.h3 !== undefined) return await overHttp3(values.h3, terminal)
  const address = values.admin ?? terminal.env['EDGE_ADMIN'] ?? ''
  if (!isAdminAddress(address)) {
    throw new UsageError('where to ask? --admin ADDR:PORT or unix:PATH (or EDGE_ADMIN)')
  }
  try {
    const isLive = values.live === true
    const answer = await ask(address, isLive ? '/livez?verbose' : '/readyz?verbose', timeoutMs)
    return report(answer, isLive ? 'alive' : 'ready', terminal)
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error
    terminal.error(`not ready: ${error.message}`)
    return exitCodes.failure
  }
}

/** Prints the status; exit code 0 for any: the backend of a new release may not be there yet. */
async function overHttp3(text: string, terminal: Terminal): Promise<number> {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url?.protocol !== 'https:') throw new UsageError(`--h3 ${text}: write https://HOST:PORT/PATH`)
  const host = bareHost(url.hostname)
  try {
    const { address } = await lookup(host)
    // Loaded here: a probe that only asks the program does without the addon.
    const { askHttp3 } = await import('../wire.ts')
    const status = askHttp3({
      address: hostPortText({ host: address, port: url.port === '' ? 443 : Number(url.port) }),
      serverName: isIP(host) === 0 ? host : '',
      authority: url.host,
      path: `${url.pathname}${url.search}`,
      timeoutMs: http3TimeoutMs,
    })
    terminal.print(`HTTP/3 ${status}`)
    return exitCodes.fine
  } catch (error) {
    terminal.error(`no HTTP/3 at ${text}: ${reasonOf(error)}`)
    return exitCodes.failure
  }
}

/** One line: a supervisor shows it in its events. */
function report({ status, body }: Answer, fine: string, terminal: Terminal): number {
  if (status === 200) {
    terminal.print(fine)
    return exitCodes.fine
  }
  const failing = body.split('\n').filter((line) => line.startsWith('[-]'))
  const why = failing.map((line) => line.slice('[-]'.length)).join(', ')
  terminal.error(`not ${fine}: ${why === '' ? `status ${status}` : why}`)
  return exitCodes.failure
}
