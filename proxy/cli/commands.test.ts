import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'

const edge = fileURLToPath(new URL('../../edge', import.meta.url))
let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function run(...args: string[]): { code: number | null; out: string; err: string } {
  const env = { PATH: process.env['PATH'], STATE_DIRECTORY: folder }
  const ended = spawnSync(edge, args, { cwd: folder, env, encoding: 'utf8' })
  return { code: ended.status, out: ended.stdout, err: ended.stderr }
}

test('help and version are printed with exit code 0', () => {
  expect(run('help').out).toContain('edge validate')
  expect(run('run', '--help').out).toContain('--advertise-https-port')
  expect(run('--version').out).toMatch(/^edge \d+\.\d+\.\d+\n$/)
})

test('a wrong command or flag ends with exit code 2 and the near word', () => {
  expect(run('vaildate')).toMatchObject({ code: 2, err: expect.stringContaining('validate?') })
  expect(run('run', '--htp', 'x')).toMatchObject({
    code: 2,
    err: expect.stringContaining('--http'),
  })
})

test('edge validate shows every fault with place and mend, exit code 78', () => {
  writeFileSync(join(folder, 'edge.yaml'), 'listen:\n  http: 99999\nwaf: { mode: blok }\n')
  expect(run('validate', '--config', 'edge.yaml', '--paranoia', '7')).toEqual({
    code: 78,
    out: '',
    err: `--paranoia: waf.paranoia: 7 is too large
  mend: write a whole number from 1 to 4
edge.yaml:2:9: listen.http: "99999" is not an address with a port (0 to 65535)
  mend: write ADDRESS:PORT with an IP address, for example 0.0.0.0:8443
edge.yaml:3:14: waf.mode: "blok" is not accepted here
  mend: write one of: block, detect, off (did you mean block?)
`,
  })
})

test('edge validate reads SecLang too', () => {
  const file = join(folder, 'own.conf')
  writeFileSync(file, '\nSecRule ARGS "@nosuch x" "id:1,phase:2,deny"\n')
  const { code, err } = run('validate', '--waf-setup', 'own.conf')
  expect(code).toBe(78)
  expect(err).toContain(`${file}:2: `)
  expect(err).toContain('\n  mend: ')
})

test('a valid configuration says so; a missing file is exit code 78', () => {
  writeFileSync(join(folder, 'edge.yaml'), 'drain: { delay: 1s }\n')
  expect(run('validate', '--config', 'edge.yaml')).toMatchObject({
    code: 0,
    out: 'configuration is valid\n',
  })
  expect(run('validate', '--config', 'none.yaml')).toMatchObject({ code: 78 })
  const missing = run('run', '--cert', 'none.pem', '--key', 'none.pem')
  expect(missing).toMatchObject({
    code: 78,
    err: expect.stringContaining('none.pem does not exist'),
  })
})

test('edge run --print-config shows values and origins, and stops', () => {
  const { code, out } = run('run', '--print-config', '--http', ':8080')
  expect(code).toBe(0)
  expect(out).toContain('  http: :8080 # --http\n')
  expect(out).toContain('routes: [] # default\n')
})
