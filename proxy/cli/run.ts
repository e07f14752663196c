/** `edge run`: the configuration, or the last good one, and then the program until its end. */
import { ConfigError, faultText } from '../config/faults.ts'
import { readFlags } from '../config/flags.ts'
import { printConfig } from '../config/print.ts'
import { readLastGood, saveLastGood } from '../last-good.ts'
import { type Loaded, load } from '../load.ts'
import { listenToSignals } from '../signals.ts'
import { exitCodes } from './exit-codes.ts'
import { configFileOf, loadConfig } from './load-config.ts'
import type { Terminal } from './terminal.ts'
import { reasonOf } from '../../waf/reason-of.ts'

/** Runs the program; its exit code. */
export async function runCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  if (readFlags(args).printConfig) {
    terminal.print(printConfig(loadConfig(args, terminal.env)).trimEnd())
    return exitCodes.fine
  }
  const signals = listenToSignals()
  const { loaded, replaced } = await loadFirst(args, terminal)
  const { caFile } = loaded
  if (caFile !== null) terminal.error(`edge: the certificate is from the local CA ${caFile}`)
  // Loaded here and not above: the other commands need no addon.
  const { run } = await import('../run.ts')
  return run(loaded, {
    env: terminal.env,
    signals,
    replaced,
    load: () => load(args, terminal.env),
    onTaken: (taken) => keep(taken, terminal),
  })
}

/** The configuration; with `--last-good`, the last good one where this one is broken. */
async function loadFirst(args: readonly string[], terminal: Terminal) {
  try {
    const loaded = await load(args, terminal.env)
    // Without `--last-good` the rules are judged where they are compiled.
    if (loaded.flags.lastGood) await judgeRules(loaded)
    return { loaded, replaced: [] }
  } catch (error) {
    const flags = readFlags(args)
    const file = configFileOf(flags, terminal.env)
    if (!(error instanceof ConfigError) || !flags.lastGood || file === null) throw error
    const text = readLastGood(file, terminal.env)
    if (text === null) throw error
    const loaded = await load(args, terminal.env, text)
    const replaced = error.faults.map(faultText)
    for (const text of replaced) terminal.error(text)
    terminal.error('edge: starting with the last good configuration instead')
    return { loaded, replaced }
  }
}

async function judgeRules(loaded: Loaded): Promise<void> {
  const { ruleFaults } = await import('./validate.ts')
  const faults = ruleFaults(loaded)
  if (faults.length > 0) throw new ConfigError(faults)
}

/** Only what came from a file can break without anybody at hand. */
function keep({ file }: Loaded, terminal: Terminal): void {
  if (file === null) return
  try {
    saveLastGood(file.path, file.text, terminal.env)
  } catch (error) {
    const reason = reasonOf(error)
    terminal.error(`edge: the last good configuration is not kept: ${reason}`)
  }
}
