/** `npm run chart`: writes what is made from the chart anew; `git diff` shows what changed. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from '../harness/edge.ts'
import { chartFiles, generatedFiles } from './generated.ts'

// Those that helm reads first: the renders are made with them.
for (const files of [chartFiles, generatedFiles]) {
  for (const [file, text] of files()) {
    mkdirSync(dirname(join(root, file)), { recursive: true })
    writeFileSync(join(root, file), text)
  }
}
