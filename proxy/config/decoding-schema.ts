/** Bodies with a `Content-Encoding`: how far they are decoded for inspection. */
import { z } from 'zod'
import { choice, count, size } from './fields.ts'

/** `waf.decoding`. */
export const decoding = z
  .strictObject({
    undecodable: choice(['refuse', 'inspectRaw'])
      .prefault('refuse')
      .describe('A request body that cannot be decoded: REQBODY_ERROR, or inspected as it came'),
    bodyMax: size().prefault('10MiB').describe('Decoded bytes of one body'),
    ratioMax: count(1, 1e6)
      .prefault(100)
      .describe('Decoded bytes for one byte as it came, from 1MiB decoded'),
    codingsMax: count(1, 16).prefault(3).describe('Codings of one body'),
    bodiesMax: size().prefault('64MiB').describe('Memory for decoded bodies under inspection'),
  })
  .transform(({ undecodable, bodyMax, bodiesMax, ...rest }) => ({
    ...rest,
    inspectRaw: undecodable === 'inspectRaw',
    bodyBytesMax: bodyMax,
    bodiesBytesMax: bodiesMax,
  }))
