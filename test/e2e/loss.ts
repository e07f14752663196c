/**
 * `npm run e2e:loss -- [--only load,restarts,reloads,certificates,drains] [--scale 1]`: nothing is
 * lost while backends restart, configurations and certificates change, and edges follow each other.
 * The short form is test/integration/loss.test.ts.
 */
import { parseArgs } from 'node:util'
import { handover, losses, type LossCounts, LossStage } from './loss-stage.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'load,restarts,reloads,certificates,drains' },
    scale: { type: 'string', default: '1' },
  },
})
const times = (turns: number) => Math.max(1, Math.round(turns * Number(values.scale)))
const minutes = 60_000

const scenarios: Record<string, (stage: LossStage) => Promise<LossCounts>> = {
  // 1,000 requests end a connection: every protocol turns over many times.
  load: (stage) => stage.load(times(20_000), 10),
  restarts: (stage) =>
    stage.under(() => stage.restartBackends({ turns: times(20), pauseMs: 300 }), 5 * minutes),
  reloads: (stage) =>
    stage.under(() => stage.reload({ turns: times(50), pauseMs: 300 }), 5 * minutes),
  certificates: (stage) =>
    stage.under(() => stage.changeCertificates({ turns: times(50), pauseMs: 300 }), 5 * minutes),
  drains: (stage) =>
    stage.under(() => stage.replaceEdge({ turns: times(10), pauseMs: 500 }), 10 * minutes),
}

let lost = 0
for (const name of values.only.split(',')) {
  const scenario = scenarios[name]
  if (!scenario) throw new Error(`no scenario ${name}`)
  // Certificates are looked at by new connections only: there shall be many.
  const limits = name === 'certificates' ? { requestsPerConnectionMax: 50 } : {}
  const stage = await LossStage.start(name === 'drains' ? handover : [], limits)
  const began = Date.now()
  try {
    const counts = await scenario(stage)
    const found = losses(counts)
    lost += found.length
    for (const [protocol, count] of Object.entries(counts))
      console.log(`${name} ${protocol}: ${JSON.stringify(count)}`)
    console.log(`${name}: ${found.length === 0 ? 'nothing lost' : found.join('; ')}`)
  } finally {
    const code = await stage.stop()
    console.log(`${name}: exit ${code}, ${(Date.now() - began) / 1000} s`)
    if (code !== 0) lost += 1
  }
}
process.exitCode = lost === 0 ? 0 : 3
