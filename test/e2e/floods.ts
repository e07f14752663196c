/**
 * `npm run e2e:floods`: every flood of HTTP/2 frames with 10,000 frames on each of 50 connections,
 * and the HTTP/2 bomb. The short form is test/limits/floods.test.ts.
 */
import {
  bombBudget,
  floodBudget,
  floodDelay,
  floods,
  startFloodStage,
  tableBytesMax,
  tableSize,
} from './flood-stage.ts'

const stage = await startFloodStage()
let broken = 0
for (const name of floods) {
  const report = await stage.flood(name, { connections: 50, count: 10_000, aloneMs: 3_000 })
  const found = [...floodBudget(report), ...floodDelay(report)]
  broken += found.length
  console.log(JSON.stringify(report), found.length === 0 ? 'within its budget' : found)
}
for (const kind of ['fields', 'over']) {
  const report = await stage.bomb(kind)
  const found = bombBudget(report)
  broken += found.length
  console.log(JSON.stringify(report), found.length === 0 ? 'within its budget' : found)
}
const table = await stage.bomb('table', tableSize)
const isSmall = table.perConnection <= tableBytesMax
broken += isSmall ? 0 : 1
console.log(JSON.stringify(table), isSmall ? 'within its budget' : 'over its budget')
const code = await stage.stop()
process.exitCode = broken === 0 && code === 0 ? 0 : 3
