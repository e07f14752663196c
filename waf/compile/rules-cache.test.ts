import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { plansOf, renamePlans } from '../program.ts'
import type { Program } from '../program.ts'
import { dropScanPlan } from '../scanner.ts'
import { noSettings } from '../tuning/tuning.ts'
import { compileRuleset } from './compile-on-thread.ts'
import type { CompileOptions } from './compile-on-thread.ts'
import { compilationName, inputsOf } from './inputs.ts'
import { readEntry, writeEntry } from './rules-cache.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-cache-'))
  mkdirSync(join(folder, 'more'))
  write(
    'base.conf',
    `SecRule ARGS "@pmFromFile words.txt" "id:1,phase:2,deny"\nInclude more/*.conf\n`,
  )
  write('words.txt', 'evil\nworse\n')
  write('more/a.conf', 'SecRule ARGS "@rx a(b)" "id:2,phase:2,deny"\n')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const write = (name: string, text: string): void => writeFileSync(join(folder, name), text)
const cacheFolder = (): string => join(folder, 'cache')
const options = (): CompileOptions => ({
  baseFile: join(folder, 'base.conf'),
  crsDirectory: null,
  paranoia: null,
  setupFiles: [],
  tunable: true,
  tunings: [
    { settings: noSettings, exclusions: [] },
    { settings: { ...noSettings, inboundThreshold: 7 }, exclusions: [] },
  ],
})

/** The program, without the names that its plans have by chance. */
async function compiled(failures: string[] = []): Promise<Program> {
  const onFailure = (reason: string): void => void failures.push(reason)
  const program = await compileRuleset(options(), { folder: cacheFolder(), onFailure })
  const plans = plansOf(program)
  for (const plan of plans) dropScanPlan(plan)
  return renamePlans(program, (plan) => plans.indexOf(plan))
}

const entries = (): string[] => {
  try {
    return readdirSync(cacheFolder()).filter((name) => name.endsWith('.rules'))
  } catch {
    return []
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) {
    // oxlint-disable-next-line no-await-in-loop -- the thread keeps its copy when all is done
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
}

const kept = () => readEntry(cacheFolder(), compilationName(options()))

test('what is kept is what would be compiled', async () => {
  const first = await compiled()
  await until(() => entries().length === 1)
  expect(kept()).not.toBeNull()
  const second = await compiled()
  expect(JSON.stringify(second)).toBe(JSON.stringify(first))
  expect(second.variants).toHaveLength(2)
})

const changes: readonly (readonly [string, () => void])[] = [
  ['a rule file', () => write('base.conf', 'SecAction "id:3,phase:1,pass"\n')],
  ['an included file', () => write('more/a.conf', 'SecAction "id:3,phase:1,pass"\n')],
  ['a data file', () => write('words.txt', 'good\n')],
  ['a new file that a pattern names', () => write('more/b.conf', '')],
  ['a file that is gone', () => rmSync(join(folder, 'more/a.conf'))],
]

for (const [name, change] of changes)
  test(`${name} makes the kept one useless`, async () => {
    await compiled()
    await until(() => entries().length === 1)
    change()
    expect(kept()).toBeNull()
  })

const damages: readonly (readonly [string, (path: string) => void])[] = [
  ['cut off', (path) => writeFileSync(path, readFileSync(path).subarray(0, 4_000))],
  ['empty', (path) => writeFileSync(path, '')],
  ['of another format', (path) => damage(path, 0, 'edge-rules-0')],
  ['changed by one byte', (path) => damage(path, 500, '~')],
  ['open to others', (path) => chmodSync(path, 0o622)],
]

function damage(path: string, at: number, text: string): void {
  const bytes = readFileSync(path)
  bytes.write(text, at)
  writeFileSync(path, bytes)
}

for (const [name, spoil] of damages)
  test(`an entry that is ${name} is passed over and written anew`, async () => {
    const first = await compiled()
    await until(() => entries().length === 1)
    const path = join(cacheFolder(), entries()[0] ?? '')
    spoil(path)
    expect(kept()).toBeNull()
    expect(JSON.stringify(await compiled())).toBe(JSON.stringify(first))
    await until(() => kept() !== null)
  })

test('a program whose shape is wrong is passed over, although its digest is right', () => {
  const inputs = inputsOf([], [])
  const program = JSON.parse('{"phases":[],"plan":0}')
  if (inputs === null) throw new Error('no inputs')
  writeEntry(cacheFolder(), 'name', { inputs, program, plans: ['{}'] })
  expect(readEntry(cacheFolder(), 'name')).toBeNull()
})

test('a folder that cannot be written is told, and the rules run', async () => {
  write('cache', 'a file in its place')
  const failures: string[] = []
  expect((await compiled(failures)).phases[2]).toHaveLength(2)
  await until(() => failures.length === 1)
  expect(failures[0]).toMatch(/EEXIST|ENOTDIR/)
})

test('only the newest entries stay', () => {
  const inputs = inputsOf([], [])
  const program = JSON.parse('{"phases":[[],[],[],[],[],[]],"plan":0}')
  if (inputs === null) throw new Error('no inputs')
  for (let index = 0; index < 12; index += 1) {
    const name = `entry-${index}`
    writeEntry(cacheFolder(), name, { inputs, program, plans: ['{}'] })
    const time = new Date(Date.UTC(2026, 0, 1, 0, index))
    utimesSync(join(cacheFolder(), `${name}.rules`), time, time)
  }
  expect(entries().toSorted()).toEqual(
    [11, 10, 4, 5, 6, 7, 8, 9].map((index) => `entry-${index}.rules`).toSorted(),
  )
})
