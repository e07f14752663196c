/** Where the program keeps what must outlive it: the local CA and the installed rules. */
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import type { Environment } from './config/environment.ts'

/** systemd's folder, else the user's (XDG), else /var/lib for root. */
export function stateDirectory(env: Environment): string {
  // systemd lists several folders with colons; the first is the one of the unit's own name.
  const given = env['STATE_DIRECTORY']?.split(':')[0]
  if (given !== undefined && given !== '') return given
  const state = env['XDG_STATE_HOME']
  if (state !== undefined && isAbsolute(state)) return join(state, 'quic-proxy-waf')
  if (process.getuid?.() === 0) return '/var/lib/quic-proxy-waf'
  return join(env['HOME'] ?? homedir(), '.local/state/quic-proxy-waf')
}
