/** Everything that `edge run` takes from outside: configuration and certificates, all judged. */
import { join } from 'node:path'
import { cacheDirectory } from './directories.ts'
import { loadConfig } from './cli/load-config.ts'
import type { Environment } from './config/environment.ts'
import type { ConfigFile } from './config/file.ts'
import type { Flags } from './config/flags.ts'
import type { Origins } from './config/layer.ts'
import type { EdgeConfig } from './config/schema.ts'
import { rulesFolder, rulesetOptions } from './rules.ts'
import { type LoadedCertificate, loadCertificates } from './tls/certificates.ts'
import { loadTicketKeys } from './tls/ticket-keys.ts'
import { serviceSecret } from './waf-service/secret.ts'
import {
  type UpstreamFiles,
  readUpstreamFiles,
  upstreamFileNames,
} from './upstream/upstream-files.ts'

/** A valid configuration with the contents of its files. */
export interface Loaded {
  readonly config: EdgeConfig
  /** The configuration file as it was read; null for none. */
  readonly file: ConfigFile | null
  readonly origins: Origins
  readonly flags: Flags
  readonly certificates: readonly LoadedCertificate[]
  /** The local CA that clients must trust; null when the certificates come from elsewhere. */
  readonly caFile: string | null
  /** Of session tickets, the first one seals; none: the wire's own. */
  readonly ticketKeys: readonly string[]
  /** The folder that compiled rules are kept in; null: they are not kept. */
  readonly rulesCache: string | null
  /** In the order of the configuration's upstreams. */
  readonly upstreamFiles: readonly UpstreamFiles[]
  readonly notices: readonly string[]
  /** Files that, once changed, ask for a reload; those of the rules are known to the program. */
  readonly files: readonly string[]
}

/**
 * Reads and judges everything; throws `UsageError` or `ConfigError`. `lastGood` takes the place of
 * the configuration file's text.
 */
export async function load(
  args: readonly string[],
  env: Environment,
  lastGood: string | null = null,
): Promise<Loaded> {
  const { config: given, origins, flags, notices, file } = loadConfig(args, env, lastGood)
  const sources = { config: given, origins, env, now: new Date() }
  const { certificates, caFile, ...served } = await loadCertificates(sources)
  const ticketKeys = loadTicketKeys(given, origins)
  const upstreamFiles = readUpstreamFiles(given, origins)
  // What CRS 3 needs is the program's business, not the operator's: `--print-config` does not
  // show it.
  const { setupFiles } = rulesetOptions(given)
  const config = { ...given, waf: { ...given.waf, setupFiles } }
  const files = [...served.files, ...upstreamFileNames(given), join(rulesFolder(env), 'current')]
  if (file !== null) files.push(file.path)
  if (given.tls.ticketKeyFile !== null) files.push(given.tls.ticketKeyFile)
  if (given.waf.service.secretFile !== null) {
    serviceSecret(given)
    files.push(given.waf.service.secretFile)
  }
  const told = [...notices, ...served.notices]
  const rulesCache = given.waf.cache
    ? (given.waf.cacheDir ?? join(cacheDirectory(env), 'rules'))
    : null
  const read = { certificates, caFile, ticketKeys, upstreamFiles, rulesCache }
  return { config, file, origins, flags, ...read, notices: told, files }
}
