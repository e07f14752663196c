/**
 * `npm run e2e:workers -- [--terminations 1000] [--clients 8]`: WAF workers end under load, again
 * and
 * again, by all three faults. Every request must be answered as without faults, no attack may reach
 * the backend, and the program must live. The short form is test/integration/faults.test.ts.
 */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startBackend } from '../harness/backend.ts'
import { startEdge } from '../harness/edge.ts'

const { values } = parseArgs({
  options: {
    terminations: { type: 'string', default: '1000' },
    clients: { type: 'string', default: '8' },
  },
})
const terminations = Number(values.terminations)
// A worker that loops is found by its silence, which takes seconds: one fault in fifty.
const fault = (turn: number) => (turn % 50 === 49 ? 'loop' : turn % 2 === 0 ? 'exit' : 'throw')

const backend = await startBackend()
const rule = join(mkdtempSync(join(tmpdir(), 'edge-e2e-')), 'rule.conf')
writeFileSync(rule, `SecRule ARGS:q "@streq bad" "id:1,phase:2,deny,status:403,log,msg:'bad'"\n`)
const edge = await startEdge({
  arguments: ['--backend', backend.url, '--no-redirect', '--waf-setup', rule],
  environment: { EDGE_TEST_HOOKS: '1' },
})
const agent = new Agent({ keepAlive: true, maxSockets: 32 })
const seen = new Map<string, number>()
let done = false

function get(kind: string, path: string, hook?: string): Promise<void> {
  const headers = hook === undefined ? {} : { 'x-edge-test': hook }
  const count = (status: number | string) =>
    seen.set(`${kind} ${status}`, (seen.get(`${kind} ${status}`) ?? 0) + 1)
  return new Promise((resolve) => {
    request({ host: '127.0.0.1', port: edge.httpPort, path, agent, headers }, (answer) => {
      answer.resume()
      answer.on('end', () => resolve(void count(answer.statusCode ?? 0)))
      answer.on('error', () => resolve(void count('cut')))
    })
      .on('error', (error) => resolve(void count(error.message)))
      .end()
  })
}

async function client(index: number): Promise<void> {
  for (let turn = index; !done; turn += 1)
    await (turn % 3 === 0 ? get('bad', '/?q=bad') : get('good', '/?q=fine'))
}

const began = Date.now()
const load = Array.from({ length: Number(values.clients) }, (_, index) => client(index))
for (let turn = 0; turn < terminations; turn += 1) {
  await get('hook', '/?q=fine', `${fault(turn)}-once`)
  if (turn % 100 === 99) console.log(`${turn + 1} terminations, ${(Date.now() - began) / 1000} s`)
}
done = true
await Promise.all(load)
const passed = backend.seen.filter((one) => one.url.includes('bad')).length
const code = await edge.stop()
backend.close()
agent.destroy()
console.log(Object.fromEntries(seen), { attacksAtTheBackend: passed, exit: code })
const expected = new Set(['good 200', 'bad 403', 'hook 200'])
const wrong = [...seen.keys()].filter((key) => !expected.has(key))
process.exitCode = wrong.length > 0 || passed > 0 || code !== 0 ? 3 : 0
