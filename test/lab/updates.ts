/** Changes of the lab under load that is counted from outside: what started must have succeeded. */
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually } from './lab.ts'
import { type Answer, backend, differs, seed, type Stage } from './stage.ts'

interface Count {
  readonly started: number
  readonly succeeded: number
  readonly failed: Readonly<Record<string, number>>
  readonly gapMs: number
  readonly connections: number
  readonly moves: number
}

type Counts = Readonly<Record<string, Count>>

/** How many times each update is done, and how much has to be under way in one. */
const rounds = 3
const requestsLeast = 20_000

// The load has PUTs, which the CRS takes for an attack: it inspects, and lets them pass.
const patient = ['--set', 'drain.delaySeconds=5,proxy.waf.mode=detect']

/** Downloads that outlive the update of a node, and clients that come from ever new addresses. */
const long = ['-downloads', '3', '-migrate', '2s', '-rebind', '5s']

/** Loads these nodes while something happens. */
async function underLoad(
  { lab }: Stage,
  { nodes, flags = [] }: { readonly nodes: readonly number[]; readonly flags?: readonly string[] },
  happening: () => Promise<void>,
): Promise<Counts> {
  const at = (port: number): string => nodes.map((node) => `${lab.node(node)}:${port}`).join(',')
  const load = ['loss', '-https', at(443), '-http', at(80), '-protocols', 'h1s,h2,h3', ...flags]
  const clients = lab.client([`${lab.programs}/edge-clients`, ...load, '-pause', '5ms'])
  let said = ''
  try {
    await happening()
  } finally {
    said = await clients.finish()
  }
  return JSON.parse(said) as Counts
}

function tell(what: string, counts: Counts): void {
  for (const [name, count] of Object.entries(counts)) {
    const { succeeded, started, gapMs, failed, connections, moves } = count
    const by = `${connections} connections${moves === 0 ? '' : `, ${moves} moves`}`
    const faults = started === succeeded ? '' : `, gap ${gapMs} ms ${JSON.stringify(failed)}`
    console.log(`${what}, ${name}: ${succeeded} of ${started} (${by})${faults}`)
  }
}

/** Nothing may be lost, of anything. */
function judge(stage: Stage, what: string, counts: Counts): void {
  tell(what, counts)
  let all = 0
  for (const [name, { started, succeeded }] of Object.entries(counts)) {
    all += started
    const least = name.includes('downloads') ? 3 : 100
    const isWhole = started >= least && succeeded === started
    stage.check(`${what}: ${name} loses nothing`, isWhole ? null : `${succeeded} of ${started}`)
  }
  const isEnough = all >= requestsLeast
  stage.check(`${what}: ${requestsLeast} and more`, isEnough ? null : String(all))
}

/** Rolls the DaemonSet over again and again: a number of workers needs new pods. */
async function updates(stage: Stage, what: string, flags: readonly string[]): Promise<void> {
  for (let round = 1; round <= rounds; round += 1) {
    const next = [...flags, '--set', `config.waf.workers=${1 + (round % 2)}`]
    // oxlint-disable-next-line no-await-in-loop -- one update after the other is the purpose
    const counts = await underLoad(stage, { nodes: stage.nodes, flags: long }, async () => {
      await stage.release('upgrade', next)
      // The old pods still drain.
      await sleep(10_000)
    })
    judge(stage, `${what}, update ${round}`, counts)
  }
}

/** The exposure nodeAddress: kube-proxy sends new connections to the new pod of the node. */
export async function nodeAddressUpdate(stage: Stage): Promise<void> {
  const flags = [...backend, ...patient, '--set', 'proxy.kind=daemonset']
  // By its key the two pods of a node know each other: without it, clients behind a NAT that
  // rebinds lose what is under way.
  stage.certificate()
  await stage.release('install', [...flags, '--set', 'config.waf.workers=1'])
  await stage.addressed(stage.nodes)
  await updates(stage, 'nodeAddress', flags)
}

/** The seed's file: sockets are handed over. */
export async function update(stage: Stage): Promise<void> {
  const { lab } = stage
  const flags = [...seed, ...backend, ...patient]
  await stage.release('install', [...flags, '--set', 'config.waf.workers=1'])
  await updates(stage, "the seed's file", flags)
  // A pod that has no successor says so to balancers before it closes.
  const here = ['--field-selector', `spec.nodeName=${lab.nodeName(1)}`, '--wait=false']
  lab.must(['k', 'delete', 'pod', '-l', 'app.kubernetes.io/component=proxy', ...here])
  const health = (): Answer => stage.get('h1', `${lab.node(1)}:80`, '/_gwhealthz')
  await eventually(() => differs(health(), { status: 503, body: 'draining' }), 20_000)
  stage.check('a pod that is deleted withdraws', null)
}

/** Plain host ports, for comparison: what is lost is told, and only the end is judged. */
export async function hostPortUpdate(stage: Stage): Promise<void> {
  const set = 'proxy.kind=daemonset,proxy.ports.useHostPorts=true'
  const flags = [...backend, ...patient, '--set', set]
  await stage.release('install', [...flags, '--set', 'config.waf.workers=1'])
  const load = { nodes: [1], flags: ['-timeout', '2s'] }
  const counts = await underLoad(stage, load, () =>
    stage.release('upgrade', [...flags, '--set', 'config.waf.workers=2']),
  )
  tell('host ports, one update (measured, not promised)', counts)
  stage.healthy(1)
}

/** No API server for a time: nothing that serves needs it. */
export async function outage(stage: Stage): Promise<void> {
  const { lab } = stage
  await stage.release('install', [...backend, ...patient, '--set', 'proxy.kind=daemonset'])
  await stage.addressed(stage.nodes)
  const counts = await underLoad(stage, { nodes: stage.nodes, flags: long }, async () => {
    lab.must(['apioff'])
    await sleep(stage.outageMs)
    lab.must(['apion'], '', 180_000)
    await sleep(30_000)
  })
  judge(stage, `no API server for ${stage.outageMs / 1_000} s`, counts)
  await stage.addressed(stage.nodes)
  for (const node of stage.nodes) stage.healthy(node)
}
