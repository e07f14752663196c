/** What the operation log tells of a pool of workers. */
import type { PoolEvent } from '../waf/pool.ts'
import type { Logger } from './log.ts'

/** One line for one event. */
export function logPoolEvent(event: PoolEvent, log: Logger): void {
  switch (event.type) {
    case 'ready':
      return log.debug(event, 'WAF worker ready')
    case 'silent':
      return log.error(event, 'WAF worker has work and is silent: it is replaced')
    case 'stuck':
      return log.fatal(event, 'WAF worker hangs in native code: the process drains and exits')
    case 'ended': {
      const { type, slot, reason, code, aliveMs, respawnInMs, error } = event
      const fields = { type, slot, reason, code, aliveMs, respawnInMs, err: error }
      if (reason === 'stopped') return log.debug(fields, 'WAF worker stopped')
      return log.error(fields, 'WAF worker ended: its exchanges go to others')
    }
  }
}
