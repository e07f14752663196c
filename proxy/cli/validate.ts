/** `edge validate`: every fault of configuration, certificates and SecLang, and nothing else. */
import { ConfigError, type Fault } from '../config/faults.ts'
import { loadCertificates } from '../tls/certificates.ts'
import { loadTicketKeys } from '../tls/ticket-keys.ts'
import { readUpstreamFiles } from '../upstream/upstream-files.ts'
import { rulesetOptions } from '../rules.ts'
import { exclusionNotices } from '../tuning.ts'
import type { Rule } from '../../waf/rule.ts'
import { SecLangError } from '../../waf/seclang/faults.ts'
import { loadRuleset } from '../../waf/seclang/load.ts'
import { exitCodes } from './exit-codes.ts'
import { loadConfig, type LoadedConfig } from './load-config.ts'
import type { Terminal } from './terminal.ts'

/** Prints the faults, or that there are none. */
export async function validate(args: readonly string[], terminal: Terminal): Promise<number> {
  const loaded = loadConfig(args, terminal.env)
  const certificates = await certificateFaults(loaded, terminal)
  const named = [...certificates, ...fileFaults(loaded)]
  const judged = judgeRules(loaded.config)
  const faults = [...named, ...judged.faults]
  const unmatched =
    judged.faults.length > 0 ? [] : exclusionNotices(loaded.config, loaded.origins, judged.rules)
  for (const notice of [...loaded.notices, ...unmatched]) terminal.error(`notice: ${notice}`)
  if (faults.length > 0) throw new ConfigError(faults)
  terminal.print('configuration is valid')
  return exitCodes.fine
}

/** Named files only: a check must not make a CA. */
async function certificateFaults(
  { config, origins }: LoadedConfig,
  terminal: Terminal,
): Promise<readonly Fault[]> {
  if (config.tls.certificates.length === 0) return []
  try {
    const sources = { config, origins, env: terminal.env, now: new Date() }
    const { notices } = await loadCertificates(sources)
    for (const notice of notices) terminal.error(`notice: ${notice}`)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}

function fileFaults({ config, origins }: LoadedConfig): Fault[] {
  return [readUpstreamFiles, loadTicketKeys].flatMap((read) => {
    try {
      read(config, origins)
      return []
    } catch (error) {
      if (error instanceof ConfigError) return error.faults
      throw error
    }
  })
}

/** Every fault of the rules that the configuration names. */
export function ruleFaults({ config }: Pick<LoadedConfig, 'config'>): readonly Fault[] {
  return judgeRules(config).faults
}

function judgeRules(config: LoadedConfig['config']): {
  readonly rules: readonly Rule[]
  readonly faults: readonly Fault[]
} {
  try {
    const { items } = loadRuleset(rulesetOptions(config))
    return { rules: items.filter((item) => item.kind === 'rule'), faults: [] }
  } catch (error) {
    if (!(error instanceof SecLangError)) throw error
    const faults = error.faults.map(({ file, line, message, mend }) => ({
      where: `${file}:${line}`,
      message,
      mend,
    }))
    return { rules: [], faults }
  }
}
