/**
 * The names of what inspects: a digest of the rules' files and of everything in the configuration
 * that changes a verdict. Proxy and service compute them alike and apart, so that a question to a
 * service with other rules is refused and not judged by them.
 */
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { CompileOptions } from '../../waf/compile/compile-on-thread.ts'
import { rulesetInputs } from '../../waf/seclang/load.ts'

/** The name of each tuning, by its index. */
export function variantNames(options: CompileOptions): string[] {
  const common = digest([contentsOf(options), options.decoding])
  return (options.tunings ?? []).map((tuning) => digest([common, tuning]))
}

/**
 * Names without their folders, and contents: the same rules may lie elsewhere. Data files are those
 * beside the rules; what an `Include` fetches from another folder is not seen here.
 */
function contentsOf(options: CompileOptions): (readonly [name: string, digest: string])[] {
  const { inputs } = rulesetInputs(options)
  const folders = new Set(
    inputs.flatMap(({ file, text }) => (text === undefined ? [dirname(file)] : [])),
  )
  const beside = [...folders].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith('.data'))
      .toSorted()
      .map((name) => join(folder, name)),
  )
  const read = [...inputs, ...beside.map((file) => ({ file, text: undefined }))]
  return read.map(({ file, text }) => [
    basename(file),
    createHash('sha256')
      .update(text ?? readFileSync(file))
      .digest('hex'),
  ])
}

function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('base64url')
}
