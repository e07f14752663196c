/**
 * Writes the scan plan of a rule set as JSON: `node bench/waf-plan.ts FILE [PARANOIA]`. The Rust
 * example `cost` (native/crates/waf/examples) measures with it what the scan alone takes.
 */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crsDirectory, root } from '../test/harness/edge.ts'
import { compile } from '../waf/compile/compile.ts'
import { loadRuleset } from '../waf/seclang/load.ts'

const [file, paranoia = '1'] = process.argv.slice(2)
const crs = crsDirectory()
if (file === undefined || crs === null) throw new Error('needs a FILE and a CRS (EDGE_CRS_DIR)')
const setup = join(mkdtempSync(join(tmpdir(), 'edge-plan-')), 'setup.conf')
writeFileSync(
  setup,
  'SecResponseBodyAccess On\nSecResponseBodyMimeType text/plain text/html text/xml\n',
)
const ruleset = loadRuleset({
  baseFile: join(root, 'waf/base.conf'),
  crsDirectory: crs,
  paranoia: Number(paranoia),
  setupFiles: [setup],
})
compile(ruleset, (json) => {
  writeFileSync(file, json)
  return 1
})
