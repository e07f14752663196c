// `npm run check`: every check in order; the last line is `N passed, N failed`.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { tmpdir } from 'node:os'
import { main, native, pinnedNode, root, targetDir } from './paths.mjs'
import { collect } from './run-command.mjs'
import { setup } from './setup.mjs'
import { tidy } from './tidy.mjs'

/** Fewer tests mean that a glob or a suite is broken, not that all is well. */
const testsMin = 100

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

async function vitest() {
  const began = Date.now()
  const folder = mkdtempSync(join(tmpdir(), 'edge-check-'))
  try {
    const file = join(folder, 'vitest.json')
    const script = join(root, 'node_modules/vitest/vitest.mjs')
    const args = [
      script,
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${file}`,
    ]
    const { code, output } = await collect(pinnedNode, args, { cwd: root })
    report('tests', { ...vitestCounts(file, code), output, began })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function vitestCounts(file, code) {
  let results
  try {
    results = JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return { passed: 0, failed: 1 } // vitest ended before it wrote any; its output says why
  }
  const passed = results.numPassedTests
  // A file that cannot be loaded has no tests that could fail.
  const unloaded = results.testResults.filter(
    (suite) => suite.status === 'failed' && suite.assertionResults.length === 0,
  )
  const isTooFew = passed + results.numFailedTests < testsMin
  if (isTooFew) console.log(`tests: fewer than ${testsMin}: did the globs lose some?`)
  const failed = results.numFailedTests + unloaded.length + (isTooFew ? 1 : 0)
  return { passed, failed: failed === 0 && code !== 0 ? 1 : failed }
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
