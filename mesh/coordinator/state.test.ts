/** What is broken in a coordinator's folder is named, with what to do about it. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openState } from './state.ts'

let folder = ''
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'mesh-state-'))))
afterEach(() => rmSync(folder, { recursive: true }))

test.each([
  ['certificate.json', 'restore it from a backup'],
  ['admin-key', 'remove it'],
  ['ticket-keys', 'remove it'],
  ['coordinator.sqlite', 'restore it from a backup'],
])('%s that holds something else', async (name, mend) => {
  const whole = await openState(folder)
  whole.registry.close()
  for (const file of readdirSync(folder)) {
    if (/-(?:wal|shm)$/.test(file)) rmSync(join(folder, file))
  }
  writeFileSync(join(folder, name), 'x'.repeat(5_000))
  await expect(openState(folder)).rejects.toMatchObject({
    code: 'STATE_INVALID',
    where: join(folder, name),
    mend: expect.stringContaining(mend),
  })
})
