/** `edge waf serve`: the WAF as a service that other proxies ask. */
import { listenOn } from '../admin/server.ts'
import { UsageError } from '../config/faults.ts'
import { socketAddress } from '../config/fields.ts'
import { operationLog } from '../log.ts'
import { listenToSignals } from '../signals.ts'
import { wafServer } from '../waf-service/server.ts'
import { exitCodes } from './exit-codes.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import { openEngine, ruleFlags, ruleSource } from './rule-source.ts'
import type { Terminal } from './terminal.ts'
import { reasonOf } from '../../waf/reason-of.ts'

const options = { ...ruleFlags, listen: { type: 'string' } } as const

/** The port of the service that this one replaces. */
const portDefault = '9000'

/** Serves until SIGTERM or SIGINT; calls under way are still answered. */
export async function wafServe(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge waf serve', args, options)
  noPositionals('edge waf serve', positionals)
  const address = addressOf(values.listen, terminal.env['WAF_PORT'])
  const signals = listenToSignals()
  const source = ruleSource(values, terminal.env)
  const mode = source.config.waf.mode
  const engine = openEngine(source, { mode })
  const { log, flush } = operationLog(source.config.log.level)
  const server = wafServer(engine, log)
  try {
    const bound = await listenOn(server, address)
    log.info({ address: bound, mode, rules: source.ruleset.crsDirectory }, 'the WAF service serves')
    terminal.print(`ready waf=${bound}`)
    log.info({ signal: await signals.end }, 'the WAF service ends')
    await server.close()
    return exitCodes.fine
  } catch (error) {
    terminal.error(`edge waf serve: ${reasonOf(error)}`)
    return exitCodes.failure
  } finally {
    engine.close()
    flush()
  }
}

function addressOf(flag: string | undefined, port = portDefault): string {
  const text = flag ?? `0.0.0.0:${port}`
  if (/^unix:./.test(text)) return text
  const address = socketAddress(text)
  if (address !== null) return address
  const source = flag === undefined ? 'WAF_PORT' : '--listen'
  throw new UsageError(`${source}: "${text}" is neither ADDRESS:PORT nor unix:PATH`)
}
