import { expect, test } from 'vitest'
import { type ForwardPlan, PlanWriter } from './plan.ts'

function hex(writer: PlanWriter): string {
  return writer.bytes.toString('hex', 0, writer.length)
}

/** Bytes as the wire reads them; spaces are for the reader of the test. */
function layout(...parts: readonly string[]): string {
  return parts.join('').replaceAll(' ', '')
}

const forward: ForwardPlan = {
  kind: 'forward',
  endpoint: 3,
  alternatives: [7],
  retry: true,
  tunnel: false,
  allTrailers: false,
  inspectResponse: { bytesMax: 9, rejectsLonger: true, mediaTypes: 'a/b c/d' },
  connectTimeoutMs: 1,
  firstByteTimeoutMs: 2,
  idleTimeoutMs: 3,
  bodyBytesMax: 2 ** 32 + 5,
  template: 1,
  requestId: 'id',
  requestEdits: [
    { op: 'set', name: 'a', value: 'é' },
    { op: 'remove', name: 'b' },
  ],
  responseEdits: [{ op: 'append', name: 'via', value: 'x' }],
}

test('a respond plan is laid out as the wire reads it', () => {
  const writer = new PlanWriter()
  const headers = [['a', 'b']] as const
  writer.write(9, { kind: 'respond', status: 403, headers, body: 'ü', close: true })
  expect(hex(writer)).toBe(
    layout('01 09000000 9301 01 0100', '0100 61 01000000 62', '02000000 c3bc'),
  )
})

test('a forward plan is laid out as the wire reads it', () => {
  const writer = new PlanWriter()
  writer.write(1, forward)
  expect(hex(writer)).toBe(
    layout(
      '03 01000000 03000000 2b 01 07000000 01000000 02000000 03000000 05000000 01000000',
      '01 0200 6964  09000000 0700 612f6220632f64',
      '0200  00 0100 61 01000000 e9  02 0100 62 00000000',
      '0100  01 0300 766961 01000000 78',
    ),
  )
})

test('small plans follow each other', () => {
  const writer = new PlanWriter()
  writer.write(1, { kind: 'read-body', maxBytes: 258 })
  writer.write(2, { kind: 'pass-response', responseEdits: [] })
  writer.write(3, { kind: 'read-response-body', maxBytes: 1 })
  writer.write(4, { kind: 'done' })
  expect(hex(writer)).toBe(
    layout('02 01000000 02010000', '04 02000000 0000', '05 03000000 01000000', '06 04000000'),
  )
})

test('no limit on the body is all ones', () => {
  const writer = new PlanWriter()
  writer.write(1, { ...forward, bodyBytesMax: null })
  expect(hex(writer).slice(54, 70)).toBe('ffffffffffffffff')
})

for (const value of ['a\r\nb: c', 'a\nb', 'a\0b', 'Ċ', '\u{1f600}']) {
  test(`the value ${JSON.stringify(value)} is refused, and what was before it stays`, () => {
    const writer = new PlanWriter()
    writer.write(1, { kind: 'done' })
    const headers = [['location', value]] as const
    expect(() =>
      writer.write(2, { kind: 'respond', status: 302, headers, body: '', close: false }),
    ).toThrow('not a field value')
    expect(hex(writer)).toBe('0601000000')
  })
}

test('a name that is no token is refused', () => {
  const headers = [['a b', '']] as const
  expect(() =>
    new PlanWriter().write(1, { kind: 'respond', status: 200, headers, body: '', close: false }),
  ).toThrow('not a field name')
})

test('the buffer grows with a long body', () => {
  const writer = new PlanWriter()
  const body = 'x'.repeat(300_000)
  writer.write(1, { kind: 'respond', status: 200, headers: [], body, close: false })
  expect(writer.length).toBe(300_014)
  expect(writer.bytes.toString('utf8', 14, writer.length)).toBe(body)
})

test('questions and verdicts are laid out as the wire reads them', () => {
  const writer = new PlanWriter()
  const asked = { moment: 'response', extent: 'beginning', question: '{}' } as const
  writer.write(1, { kind: 'ask', ...asked })
  writer.write(2, { kind: 'verdict', isLast: true, wantsBody: false, answer: 'a' })
  writer.write(3, { kind: 'verdict', isLast: false, wantsBody: true, answer: '' })
  writer.write(4, { kind: 'refuse', error: 41 })
  expect(hex(writer)).toBe(
    layout(
      '07 01000000 02 02 02000000 7b7d',
      '08 02000000 01 01000000 61',
      '08 03000000 02 00000000',
      '09 04000000 2900',
    ),
  )
})
