// `npm run check`: every check in order; the last line is `N passed, N failed`.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { delimiter, join, relative } from 'node:path'
import { tmpdir } from 'node:os'
import { main, native, pinnedNode, root, targetDir } from './paths.mjs'
import { collect } from './run-command.mjs'
import { setup } from './setup.mjs'
import { tidy } from './tidy.mjs'

/** Fewer tests mean that a glob or a suite is broken, not that all is well. */
const testsMin = 100
/** More failing files than these are no accident of a busy machine. */
const filesAgainMax = 4
const messageLinesMax = 12
const outputLinesMax = 60

const bin = (name) => join(root, 'node_modules/.bin', name)
const total = { passed: 0, failed: 0 }

/** Counts a step; shows its output only when it failed. */
function report(name, { passed, failed, output, began }) {
  total.passed += passed
  total.failed += failed
  const seconds = ((Date.now() - began) / 1000).toFixed(1)
  console.log(
    `${failed === 0 ? 'ok  ' : 'FAIL'} ${name}: ${passed} passed, ${failed} failed (${seconds} s)`,
  )
  if (failed > 0) console.log(output.trimEnd())
}

async function command(name, program, args, options = {}) {
  const began = Date.now()
  const { code, output } = await collect(program, args, { cwd: root, ...options })
  report(name, { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, output, began })
}

/**
 * All tests. What failed is told first, by name. A few files may fail because the machine was busy
 * with others of ours at that moment: those run once more, alone, and what only failed in company
 * is told as unsteady. What fails alone too has failed.
 */
async function vitest() {
  const began = Date.now()
  const { code, output, results } = await runVitest([])
  for (const [line] of output.matchAll(/NOT RUN: .*/g)) console.log(`     ${line}`)
  if (results === null) {
    report('tests', { passed: 0, failed: 1, output, began }) // its output says why it ended
    return
  }
  const failures = failuresIn(results)
  const passed = results.numPassedTests
  const isTooFew = passed + results.numFailedTests < testsMin
  if (isTooFew) console.log(`tests: fewer than ${testsMin}: did the globs lose some?`)
  const files = [...new Set(failures.map(({ file }) => file))]
  const isBroken = isTooFew || (code !== 0 && files.length === 0)
  if (isBroken || files.length === 0 || files.length > filesAgainMax) {
    const failed = failures.length + (isBroken ? 1 : 0)
    report('tests', { passed, failed, output: textOf(failures, output), began })
    return
  }
  report('tests', { passed, failed: 0, output: '', began })
  console.log(`     ${failures.length} failed beside others; once more, alone:`)
  console.log(textOf(failures, ''))
  await vitestAlone(files, failures)
}

/** Counts what had failed only: the rest of these files was counted before. */
async function vitestAlone(files, before) {
  const began = Date.now()
  const { code, output, results } = await runVitest([...files, '--no-file-parallelism'])
  const failures = results === null ? before : failuresIn(results)
  const failed = failures.length || (code === 0 ? 0 : 1)
  const passed = Math.max(0, before.length - failed)
  report('tests alone', { passed, failed, output: textOf(failures, output), began })
  for (const { name } of failed === 0 ? before : []) console.log(`     unsteady: ${name}`)
}

async function runVitest(more) {
  const folder = mkdtempSync(join(tmpdir(), 'edge-check-'))
  try {
    const file = join(folder, 'vitest.json')
    const script = join(root, 'node_modules/vitest/vitest.mjs')
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
    const args = [script, 'run', ...reporters, ...more]
    const { code, output } = await collect(pinnedNode, args, { cwd: root })
    return { code, output, results: readResults(file) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Null when vitest ended before it wrote any. */
function readResults(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return null
  }
}

/** What failed: a test, or a file that cannot be loaded and so has no tests that could fail. */
function failuresIn({ testResults }) {
  return testResults.flatMap(({ name: path, status, message, assertionResults }) => {
    const file = relative(root, path)
    const tests = assertionResults
      .filter((test) => test.status === 'failed')
      .map(({ fullName, failureMessages }) => ({
        file,
        name: `${file} > ${fullName}`,
        message: failureMessages.join('\n'),
      }))
    return status === 'failed' && tests.length === 0 ? [{ file, name: file, message }] : tests
  })
}

/** The failures with the beginning of their messages, then the end of what vitest printed. */
function textOf(failures, output) {
  const told = failures.map(({ name, message }) => {
    const lines = message.split('\n').slice(0, messageLinesMax)
    return [`  × ${name}`, ...lines.map((line) => `      ${line}`)].join('\n')
  })
  return [...told, ...output.trimEnd().split('\n').slice(-outputLinesMax)].join('\n')
}

async function cargoTest(env) {
  const began = Date.now()
  const args = ['test', '--release', '--locked', '--workspace', '--no-fail-fast']
  const { code, output } = await collect('cargo', args, { cwd: native, env })
  let passed = 0
  let failed = 0
  for (const [, good, bad] of output.matchAll(/^test result: \S+ (\d+) passed; (\d+) failed/gm)) {
    passed += Number(good)
    failed += Number(bad)
  }
  report('cargo test', { passed, failed: failed || (code === 0 ? 0 : 1), output, began })
}

await main(async () => {
  await setup()
  const path = [process.env.PATH, join(process.env.HOME ?? '/root', '.cargo/bin')].join(delimiter)
  const env = { ...process.env, PATH: path, CARGO_TARGET_DIR: targetDir, CARGO_TERM_COLOR: 'never' }
  const cargo = { cwd: native, env }
  await command('format', pinnedNode, [bin('oxfmt'), '--check'])
  await command('lint', pinnedNode, [bin('oxlint'), '--type-aware', '--quiet'])
  await command('types', pinnedNode, [bin('tsc'), '-p', '.'])
  await command('unused', pinnedNode, [bin('knip')])
  const began = Date.now()
  const untidy = tidy()
  const failed = untidy.length === 0 ? 0 : 1
  report('tidy', { passed: 1 - failed, failed, output: untidy.join('\n'), began })
  await command('cargo fmt', 'cargo', ['fmt', '--all', '--check'], cargo)
  const clippy = ['clippy', '--release', '--locked', '--workspace', '--all-targets', '--']
  await command('cargo clippy', 'cargo', [...clippy, '-D', 'warnings'], cargo)
  await cargoTest(env)
  await vitest()
  console.log(`${total.passed} passed, ${total.failed} failed`)
  return total.failed === 0 ? 0 : 1
})
