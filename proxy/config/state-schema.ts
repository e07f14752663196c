/** What the WAF remembers from one request to the next: the keys below `waf:` for it. */
import { z } from 'zod'
import { address, count, duration, path, size } from './fields.ts'

/** `waf.collections` */
export const collections = z
  .strictObject({
    file: path()
      .nullable()
      .prefault(null)
      .describe('SQLite file that remembers collections over restarts; null: memory only'),
    saveInterval: duration(1_000).prefault('5s').describe('Time between two saves of the file'),
    entriesMax: count(1, 10_000_000)
      .prefault(100_000)
      .describe('Persistent collections; beyond it those updated longest ago go'),
    memoryMax: size()
      .prefault('32MiB')
      .describe('Memory of all collections; beyond it those updated longest ago go'),
    valueMax: size()
      .refine((bytes) => bytes <= 1024 ** 2, 'more than 1MiB')
      .prefault('4KiB')
      .describe('Longest value of a member; a longer one is not stored'),
    membersMax: count(1, 10_000)
      .prefault(64)
      .describe('Members of one collection; a further one is not stored'),
  })
  .transform(({ saveInterval, memoryMax, valueMax, ...rest }) => ({
    ...rest,
    saveIntervalMs: saveInterval,
    memoryBytesMax: memoryMax,
    valueBytesMax: valueMax,
  }))

/** `waf.rbl` */
export const rbl = z
  .strictObject({
    timeout: duration(10)
      .prefault('2s')
      .describe('Longest lookup; one that takes longer counts as not listed for 30s'),
    ttl: duration(1_000)
      .prefault('5m')
      .describe('Longest time for which an answer holds; that of a record may be shorter'),
    cacheMax: count(1, 1_000_000)
      .prefault(10_000)
      .describe('Known answers; beyond it the one that would end first goes'),
    pendingMax: count(1, 10_000)
      .prefault(256)
      .describe('Lookups under way; addresses beyond it are asked for again with a later request'),
    resolver: address().nullable().prefault(null).describe("Name server; null: the system's"),
  })
  .transform(({ timeout, ttl, ...rest }) => ({ ...rest, timeoutMs: timeout, ttlMs: ttl }))
