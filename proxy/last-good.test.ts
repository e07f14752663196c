import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readLastGood, saveLastGood } from './last-good.ts'

test('each configuration file has a last good text of its own', () => {
  const folder = mkdtempSync(join(tmpdir(), 'edge-last-good-'))
  const env = { STATE_DIRECTORY: folder }
  expect(readLastGood('/etc/a.yaml', env)).toBeNull()
  saveLastGood('/etc/a.yaml', 'waf: { mode: off }\n', env)
  saveLastGood('/etc/b.yaml', '', env)
  saveLastGood('/etc/a.yaml', 'waf: { mode: detect }\n', env)
  expect(readLastGood('/etc/a.yaml', env)).toBe('waf: { mode: detect }\n')
  rmSync(folder, { recursive: true })
})
