/** How often somebody may ask to be let in: in all, and where it was refused, from one address. */
import { MeshFault } from '../fault.ts'
import { meshLimits } from '../limits.ts'
import { hostPrefix, network, parseAddress, prefixText } from '../prefix.ts'

interface Bucket {
  left: number
  atMs: number
}

export class JoinLimiter {
  readonly #all: Bucket = { left: meshLimits.joinsPerSecondMax, atMs: 0 }
  /** In the order of their last refusals. */
  readonly #refusals = new Map<string, Bucket>()

  /** Refuses an attempt before anything costly is done for it. */
  admit(address: string, nowMs: number): void {
    const { joinsPerSecondMax, joinRefusalsPerMinuteMax } = meshLimits
    const bucket = this.#refusals.get(groupOf(address))
    if (bucket !== undefined && filled(bucket, perMinute, nowMs).left < 1) {
      throw new MeshFault('JOIN_REFUSED_TOO_OFTEN', {
        where: plain(address),
        message: `more than ${joinRefusalsPerMinuteMax} joins from there were refused in a minute`,
        mend: 'correct the token, and wait a minute',
      })
    }
    if (filled(this.#all, { most: joinsPerSecondMax, eachMs: 1_000 }, nowMs).left < 1) {
      throw new MeshFault('JOINS_TOO_MANY', {
        where: 'the coordinator',
        message: `more than ${joinsPerSecondMax} joins in a second`,
        mend: 'wait: agents ask again by themselves',
      })
    }
    this.#all.left -= 1
  }

  /** That attempt did not lead in. */
  refused(address: string, nowMs: number): void {
    const group = groupOf(address)
    const bucket = this.#refusals.get(group) ?? { left: perMinute.most, atMs: nowMs }
    filled(bucket, perMinute, nowMs).left -= 1
    this.#refusals.delete(group)
    this.#refusals.set(group, bucket)
    if (this.#refusals.size <= meshLimits.joinAddressesMax) return
    const [oldest] = this.#refusals.keys()
    if (oldest !== undefined) this.#refusals.delete(oldest)
  }
}

const perMinute = { most: meshLimits.joinRefusalsPerMinuteMax, eachMs: 60_000 }

/** What came in since it was looked at last. */
function filled(bucket: Bucket, rate: { most: number; eachMs: number }, nowMs: number): Bucket {
  const gained = (Math.max(0, nowMs - bucket.atMs) / rate.eachMs) * rate.most
  bucket.left = Math.min(rate.most, bucket.left + gained)
  bucket.atMs = nowMs
  return bucket
}

/**
 * Whoever has one IPv6 address has a whole /64. A socket of both families writes IPv4 addresses as
 * `::ffff:192.0.2.1`, of which the /64 would be all of them.
 */
function groupOf(address: string): string {
  const parsed = parseAddress(plain(address))
  if (parsed === null) return address
  return prefixText(parsed.family === 6 ? network({ ...parsed, length: 64 }) : hostPrefix(parsed))
}

const plain = (address: string): string => address.replace(/^::ffff:(?=[\d.]+$)/i, '')
