import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ConfigError, UsageError } from '../config/faults.ts'
import { wafLint } from './waf-lint.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

async function lint(...args: string[]): Promise<{ code: number; out: string }> {
  const printed: string[] = []
  const paths = args.map((arg) => (arg.startsWith('-') ? arg : join(folder, arg)))
  const code = await wafLint(paths, {
    env: { STATE_DIRECTORY: folder },
    print: (line) => void printed.push(line),
    error: expect.unreachable,
  })
  return { code, out: `${printed.join('\n')}\n` }
}

test('a file without faults is fine', async () => {
  writeFileSync(join(folder, 'own.conf'), 'SecRule ARGS "@rx evil" "id:1,phase:2,deny"\n')
  const { code, out } = await lint('own.conf')
  expect(code).toBe(0)
  // The base file has rules of its own, which may become more.
  expect(out).toMatch(/^\d+ rules in 2 files: 0 errors, 0 warnings, 0 notices\n$/)
})

test('every finding has its place and its mend, and ends with exit code 3', async () => {
  const file = join(folder, 'own.conf')
  writeFileSync(file, 'SecRule ARGS "@nosuch x" "id:1"\nSecRule ARGS|FOO "(" "id:2"\n')
  const { code, out } = await lint('own.conf')
  expect(code).toBe(3)
  expect(out).toContain(`${file}:1:15: error: unknown operator @nosuch; check its spelling\n`)
  expect(out).toContain(`${file}:2:14: error: unknown variable "FOO"; `)
})

test('a pattern that does not compile is found without a server', async () => {
  writeFileSync(join(folder, 'own.conf'), '\nSecRule ARGS "@rx (a" "id:1,phase:2"\n')
  const { code, out } = await lint('own.conf')
  expect(code).toBe(3)
  expect(out).toMatch(/own\.conf:2:1: error: .*@rx/)
})

test('a folder is read in name order, and JSON holds the same', async () => {
  mkdirSync(join(folder, 'own'))
  writeFileSync(join(folder, 'own/a.conf'), 'SecRuleRemoveById 1\n')
  writeFileSync(join(folder, 'own/b.conf'), 'SecTmpDir /tmp\n')
  const { code, out } = await lint('--rules', 'own', '--json')
  expect(code).toBe(3)
  expect(JSON.parse(out)).toMatchObject({
    files: 3,
    findings: [
      { level: 'warning', file: join(folder, 'own/a.conf'), line: 1, column: 1 },
      { level: 'notice', file: join(folder, 'own/b.conf'), line: 1, column: 1 },
    ],
  })
})

test('what cannot be read is a fault of configuration, a wrong flag one of usage', async () => {
  await expect(lint('none.conf')).rejects.toThrow(ConfigError)
  await expect(lint('--rules', 'none')).rejects.toThrow(ConfigError)
  await expect(lint()).rejects.toThrow(/no rules/)
  await expect(lint('--foo')).rejects.toThrow(UsageError)
})
