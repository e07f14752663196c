// `node test/lab/pack.mjs OUT.tar NAME:TAG PROGRAM`: an image of one static program.
import { writeFileSync } from 'node:fs'
import { imageArchive } from '../../scripts/image/archive.mjs'

const [out, name, program] = process.argv.slice(2)
if (program === undefined) {
  console.error('usage: pack.mjs OUT.tar NAME:TAG PROGRAM')
  process.exit(2)
}
const entries = [{ path: 'program', type: 'file', mode: 0o755, source: program }]
const config = { Entrypoint: ['/program'], User: '65532:65532' }
const architecture = process.arch === 'x64' ? 'amd64' : process.arch
const layers = [{ name: 'program', entries }]
writeFileSync(out, imageArchive({ name, architecture, layers, config, labels: {} }))
