/** `edge waf serve`: the WAF as a service that other programs ask. */
import { join } from 'node:path'
import { type CompileOptions, compileRuleset } from '../../waf/compile/compile-on-thread.ts'
import type { OfflineEngine } from '../../waf/offline/engine.ts'
import type { Program } from '../../waf/program.ts'
import { reasonOf } from '../../waf/reason-of.ts'
import { dropPlans } from '../../waf/scanner.ts'
import { listenOn } from '../admin/server.ts'
import { compileOptionsOf } from '../compile-options.ts'
import { ConfigError, faultText, UsageError } from '../config/faults.ts'
import { socketAddress } from '../config/fields.ts'
import type { EdgeConfig } from '../config/schema.ts'
import { cacheDirectory } from '../directories.ts'
import { operationLog } from '../log.ts'
import { spareMemory } from '../memory.ts'
import { listenToSignals } from '../signals.ts'
import { WafState } from '../waf-state.ts'
import { wafServer } from '../waf-service/server.ts'
import { type Rules, serviceWireConfig, startService } from '../waf-service/service.ts'
import { type Wire, createWire } from '../wire.ts'
import { exitCodes } from './exit-codes.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import { asConfigError, offlineEngine, ruleFlags, ruleSource } from './rule-source.ts'
import type { RuleSource } from './rule-source.ts'
import type { Terminal } from './terminal.ts'

const options = {
  ...ruleFlags,
  listen: { type: 'string' },
  questions: { type: 'string' },
} as const

/** The port of the service that this one replaces. */
const portDefault = '9000'

/**
 * Serves until SIGTERM or SIGINT; calls and questions under way are still answered. SIGHUP takes
 * the rules anew; where it listens and how many workers it has stays as it was at the start.
 */
export async function wafServe(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge waf serve', args, options)
  noPositionals('edge waf serve', positionals)
  const address = addressOf(values.listen, terminal.env['WAF_PORT'])
  const signals = listenToSignals()
  const read = (): RuleSource => ruleSource(values, terminal.env)
  const source = read()
  const { config } = source
  const stopSparing = spareMemory()
  const questions = questionsOf(values.questions, config)
  // First of all, because the main thread must hold the addon before any other thread loads it.
  const wire = createWire(serviceWireConfig(config, questions))
  try {
    return await serve(source, { read, address, questions, wire, signals, terminal })
  } finally {
    wire.stop()
    stopSparing()
  }
}

interface Around {
  readonly read: () => RuleSource
  /** Of `/evaluate`. */
  readonly address: string
  /** Of the questions of proxies; null: none are taken. */
  readonly questions: string | null
  readonly wire: Wire
  readonly signals: ReturnType<typeof listenToSignals>
  readonly terminal: Terminal
}

async function serve(source: RuleSource, around: Around): Promise<number> {
  const { address, questions, wire, signals, terminal } = around
  const { config } = source
  const { mode } = config.waf
  const { log, flush } = operationLog(config.log.level)
  let served = await prepared(source, terminal)
  const server = wafServer(() => served.engine, log)
  const state = new WafState(config.waf, log)
  const onRetired = (program: Program): void => dropPlans(program)
  const service =
    questions === null ? null : await startService({ ...served.rules, wire, log, onRetired })
  const reload = async (): Promise<void> => {
    try {
      const last = served
      served = await prepared(around.read(), terminal)
      // Calls are answered at once: none is under way. Of questions the service knows.
      if (service === null) last.engine.close()
      else service.take(served.rules)
      log.info('the rules were reloaded')
    } catch (error) {
      const faults = error instanceof ConfigError ? error.faults.map(faultText) : [reasonOf(error)]
      log.error({ faults }, 'reload refused: the last good rules stay')
    }
  }
  try {
    const [asked] = questions === null ? [] : wire.listen()
    const bound = await listenOn(server, address)
    const places = { address: bound, questions: asked ?? 'off', mode }
    log.info({ ...places, rules: config.waf.rules }, 'the WAF service serves')
    terminal.print(`ready waf=${bound}${asked === undefined ? '' : ` questions=${asked}`}`)
    let reloading = Promise.resolve()
    signals.onHangup(() => {
      reloading = reloading.then(reload)
    })
    const reason = await Promise.race([signals.end, ...(service === null ? [] : [service.stuck])])
    log.info({ reason }, 'the WAF service ends')
    await service?.drain()
    await server.close()
    return reason === 'stuck' ? exitCodes.failure : exitCodes.fine
  } catch (error) {
    terminal.error(`edge waf serve: ${reasonOf(error)}`)
    return exitCodes.failure
  } finally {
    await service?.pool.stop()
    state.stop()
    served.engine.close()
    flush()
  }
}

interface Prepared {
  readonly rules: Rules
  /** Of `/evaluate`. */
  readonly engine: OfflineEngine
}

async function prepared(source: RuleSource, terminal: Terminal): Promise<Prepared> {
  const { config } = source
  const compiledFrom = { ...compileOptionsOf(config), ...source.ruleset }
  const program = await compiled(config, compiledFrom, terminal)
  const engine = offlineEngine(source, program, { mode: config.waf.mode })
  return { rules: { config, compiledFrom, program }, engine }
}

/** One program for both ends of the service. */
async function compiled(config: EdgeConfig, from: CompileOptions, { env }: Terminal) {
  const folder = config.waf.cacheDir ?? join(cacheDirectory(env), 'rules')
  const cache = config.waf.cache ? { folder, onFailure: () => undefined } : null
  try {
    return await compileRuleset(from, cache)
  } catch (error) {
    throw asConfigError(error)
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

function questionsOf(flag: string | undefined, { waf }: EdgeConfig): string | null {
  if (flag === undefined) return waf.service.listen
  if (flag === 'off') return null
  const address = socketAddress(flag)
  if (address !== null) return address
  throw new UsageError(`--questions: "${flag}" is not ADDRESS:PORT, nor off`)
}
