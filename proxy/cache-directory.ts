/** Where the program keeps what it can make again: compiled rules. */
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import type { Environment } from './config/environment.ts'

/** systemd's folder, else the user's (XDG), else /var/cache for root. */
export function cacheDirectory(env: Environment): string {
  const given = env['CACHE_DIRECTORY']?.split(':')[0]
  if (given !== undefined && given !== '') return given
  const cache = env['XDG_CACHE_HOME']
  if (cache !== undefined && isAbsolute(cache)) return join(cache, 'quic-proxy-waf')
  if (process.getuid?.() === 0) return '/var/cache/quic-proxy-waf'
  return join(env['HOME'] ?? homedir(), '.cache/quic-proxy-waf')
}
