/** Readers that have seen enough: `edge help | head -1`. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../harness/edge.ts'

test('a command whose reader is gone ends as it would, without a word', async () => {
  const child = spawn(process.execPath, [join(root, 'proxy/main.ts'), 'help'])
  child.stdout.destroy()
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  const [code] = (await once(child, 'close')) as [number | null]
  expect([code, errors]).toEqual([0, ''])
})
