/** What the WAF remembers from one request to the next: the keys below `waf:` for it. */
import { z } from 'zod'
import { count, duration, path, size } from './fields.ts'

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
