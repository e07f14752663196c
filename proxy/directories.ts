/** The program's own folders: systemd's, else the user's (XDG), else root's. */
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import type { Environment } from './config/environment.ts'

/** What must outlive the program: the local CA and the installed rules. */
export function stateDirectory(env: Environment): string {
  const given = [env['STATE_DIRECTORY'], env['XDG_STATE_HOME']] as const
  return directory(env, given, ['/var/lib', '.local/state'])
}

/** What the program can make again: compiled rules. */
export function cacheDirectory(env: Environment): string {
  const given = [env['CACHE_DIRECTORY'], env['XDG_CACHE_HOME']] as const
  return directory(env, given, ['/var/cache', '.cache'])
}

function directory(
  env: Environment,
  [systemd, xdg]: readonly [string | undefined, string | undefined],
  [ofRoot, inHome]: readonly [string, string],
): string {
  // systemd lists several folders with colons; the first is the one of the unit's own name.
  const given = systemd?.split(':')[0]
  if (given !== undefined && given !== '') return given
  if (xdg !== undefined && isAbsolute(xdg)) return join(xdg, 'quic-proxy-waf')
  if (process.getuid?.() === 0) return join(ofRoot, 'quic-proxy-waf')
  return join(env['HOME'] ?? homedir(), inHome, 'quic-proxy-waf')
}
