/**
 * `npm run e2e:transfer -- [--bytes 1073741824]`: uploads and downloads of 1 GiB on every protocol,
 * without the WAF and on a route that streams; the edge's memory must stay flat. The short form is
 * test/integration/transfer.test.ts.
 */
import { parseArgs } from 'node:util'
import { protocols, startTransferStage, transferFaults } from './transfer-stage.ts'

const { values } = parseArgs({ options: { bytes: { type: 'string', default: '1073741824' } } })
const bytes = Number(values.bytes)
let broken = 0
for (const waf of ['off', 'stream'] as const) {
  const stage = await startTransferStage({ waf })
  for (const protocol of protocols)
    for (const direction of ['up', 'down'] as const) {
      const report = await stage.transfer({ protocol, direction, bytes })
      const faults = transferFaults(report, bytes)
      broken += faults.length
      const growth = Math.round((report.rssMost - report.rssBefore) / 1024)
      console.log(`waf ${waf} ${protocol} ${direction}: growth ${growth} KiB`, report, faults)
    }
  if ((await stage.stop()) !== 0) broken += 1
}
process.exitCode = broken === 0 ? 0 : 3
