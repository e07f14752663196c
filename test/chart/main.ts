/** `npm run chart`: writes what is made from the chart anew; `git diff` shows what changed. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from '../harness/edge.ts'
import { generatedFiles, schemaFile, valuesSchema } from './generated.ts'

writeFileSync(join(root, schemaFile), valuesSchema())
for (const [file, text] of generatedFiles()) {
  mkdirSync(dirname(join(root, file)), { recursive: true })
  writeFileSync(join(root, file), text)
}
