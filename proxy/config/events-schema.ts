/** `waf.events`: what is kept of exchanges that were stopped, and for how long. */
import { z } from 'zod'
import { defaultSecrets } from '../../waf/evidence/redact.ts'
import { choice, count, path, size } from './fields.ts'

export const events = z
  .strictObject({
    keep: choice(['blocked', 'matched'])
      .prefault('blocked')
      .describe('Which exchanges: those stopped, failed or only detected; or all with a match'),
    memoryCountMax: count(1, 1e6).prefault(1_000).describe('Events in memory, the newest'),
    memoryMax: size().prefault('16MiB').describe('Memory for them'),
    queueMax: count(1, 1e5)
      .prefault(200)
      .describe('Events of one worker on their way (4 times a second); more are lost and counted'),
    evidencePerSecondMax: count(0, 1e5)
      .prefault(100)
      .describe('Events per second and worker that tell every match; others have rule ids only'),
    matchesMax: count(1, 1_000).prefault(64).describe('Matches told of one exchange'),
    valuesMax: count(1, 16).prefault(8).describe('Values told of one link of a rule'),
    excerptMax: size().prefault('512B').describe('Bytes told of one text'),
    eventMax: size()
      .prefault('64KiB')
      .describe('One event as JSON; beyond it matches are left out'),
    redact: z
      .array(z.string().min(1).max(256))
      .max(1_000)
      .prefault([...defaultSecrets])
      .describe('Headers and arguments whose values are secret; cookie: all cookies'),
    file: path().nullable().prefault(null).describe('SQLite file that keeps events; null: none'),
    fileCountMax: count(1, 1e8).prefault(100_000).describe('Events in the file, the newest'),
    fileDaysMax: count(1, 36_500).prefault(30).describe('Age in days at which they are deleted'),
  })
  .transform(({ memoryMax, excerptMax, eventMax, ...rest }) => ({
    ...rest,
    memoryBytesMax: memoryMax,
    excerptBytesMax: excerptMax,
    eventBytesMax: eventMax,
  }))

/** The settings of the event store. */
export type EventsConfig = Readonly<
  Omit<z.output<typeof events>, 'redact'> & { readonly redact: readonly string[] }
>
