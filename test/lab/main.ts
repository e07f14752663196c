/**
 * `npm run e2e:kubernetes [-- --only daemonset,deployment,…] [--keep] [--outage SECONDS]`: the
 * chart in a real Kubernetes of three nodes, from outside. The last line is `N passed, N failed`.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { crsDirectory, root } from '../harness/edge.ts'
import { Lab, labPrograms, obstacle } from './lab.ts'
import { Stage } from './stage.ts'
import { stages } from './stages.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(stages).join(',') },
    image: { type: 'string' },
    // Seconds without API server: 600 when there is time for it.
    outage: { type: 'string', default: '60' },
    keep: { type: 'boolean', default: false },
  },
})

const nodes = 3

function makeImages(lab: Lab): void {
  lab.pack('lab.local/pause:1', 'pause')
  lab.pack('lab.local/coredns:1', 'coredns')
  lab.pack('lab.local/clients:1', 'edge-clients')
  const rules = crsDirectory()
  const from = rules === null ? [] : ['--rules', rules]
  const args = [join(root, 'scripts/image.mjs'), '--out', lab.image('edge'), ...from]
  execFileSync(process.execPath, args, { stdio: 'inherit' })
}

const why = obstacle()
if (why !== null) {
  console.log(`NOT RUN: ${why}`)
  process.exit(1)
}
const lab = new Lab(labPrograms())
const stage = new Stage(lab, nodes, Number(values.outage) * 1_000)
const stop = (): never => {
  lab.down()
  process.exit(1)
}
process.on('SIGINT', stop).on('SIGTERM', stop)
try {
  makeImages(lab)
  const began = Date.now()
  lab.must(['up', String(nodes)], '', 300_000)
  console.log(`${nodes} nodes are ready after ${Math.round((Date.now() - began) / 1000)} s`)
  for (const file of ['dns.yaml', 'backend.yaml']) {
    lab.must(['k', 'apply', '-f', '-'], readFileSync(join(root, 'test/lab', file), 'utf8'))
  }
  const wait = ['rollout', 'status', '--timeout=120s']
  lab.must(['k', '-n', 'kube-system', ...wait, 'deployment/coredns'], '', 150_000)
  lab.must(['k', ...wait, 'deployment/my-backend-service'], '', 150_000)
  for (const name of values.only.split(',')) {
    const run = stages[name]
    if (run === undefined) throw new Error(`there is no stage ${name}`)
    console.log(`# ${name}`)
    // One stage leaves the ports to the next one.
    // oxlint-disable-next-line no-await-in-loop
    await stage.guarded(name, () => run(stage))
  }
} finally {
  if (values.keep) console.log(`kept: ${lab.folder}`)
  else lab.down()
}
console.log(`${stage.passed} passed, ${stage.failed} failed`)
process.exitCode = stage.failed === 0 ? 0 : 1
