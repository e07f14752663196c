/**
 * What does proxying cost in server CPU beside nginx and Caddy, on h1, TLS, h2 and h3?
 *
 *   node bench/proxy-cost.ts [--figures small,bulk,handshake] [--rounds 3] [--requests 20000]
 *                            [--only nginx,caddy,edge,edge+CRS] [--access-log] [--picture FILE.svg]
 *
 * `small`: 1 KiB over kept-alive connections. `bulk`: 10 MiB downloads, per GiB. `handshake`: a new
 * connection for every 1 KiB. Needs on PATH: hload (built from ../shared/tools/hload), nginx and
 * caddy. The contenders' bodies must be equal before anything is timed; rounds are interleaved; the
 * median is reported. CPU time of the server's processes is the figure: machines are shared, and
 * wall time lies. Every run is shown as it ends: `bulk` takes 1 GiB a run with 20,000 requests.
 */
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { parseArgs, promisify } from 'node:util'
import {
  type Contender,
  type Protocol,
  family,
  missingPrograms,
  paths,
  proveEqual,
  sizes,
  startField,
  urlOf,
} from './contenders.ts'
import { type Bar, picture } from './picture.ts'

const { values } = parseArgs({
  options: {
    figures: { type: 'string', default: 'small' },
    requests: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: 'nginx,caddy,edge,edge+CRS' },
    'access-log': { type: 'boolean', default: false },
    picture: { type: 'string' },
  },
})

/** One thing to measure: what is loaded, how, and how hload's figures are read. */
interface Figure {
  readonly unit: string
  readonly protocols: readonly Protocol[]
  readonly path: string
  readonly bytes: number
  /** Of `--requests`. */
  readonly share: number
  /** A first round that is not counted: the code of the contenders may be compiled in it. */
  readonly rehearsed: boolean
  readonly load: (protocol: Protocol) => readonly string[]
  readonly value: RegExp
}

const kept = (protocol: Protocol): readonly string[] =>
  protocol.startsWith('h1') ? ['-c', '1', '-m', '64'] : ['-c', '4', '-m', '16']

const figures: Readonly<Record<string, Figure>> = {
  small: {
    unit: 'µs/request',
    protocols: ['h1', 'h1s', 'h2', 'h3'],
    path: paths.small,
    bytes: sizes.small,
    share: 1,
    rehearsed: true,
    load: kept,
    value: /srvCPU ([\d.]+) us/,
  },
  bulk: {
    unit: 's/GiB',
    protocols: ['h1', 'h1s', 'h2', 'h3'],
    path: paths.bulk,
    bytes: sizes.bulk,
    share: 1 / 200,
    rehearsed: false,
    load: () => ['-c', '1', '-m', '4', '-w', '8'],
    value: /([\d.]+) s\/GiB/,
  },
  handshake: {
    unit: 'µs/connection',
    protocols: ['h1s', 'h2', 'h3'],
    path: paths.small,
    bytes: sizes.small,
    share: 1 / 10,
    rehearsed: true,
    load: () => ['-c', '1', '-m', '8', '-fresh', '-w', '100'],
    value: /srvCPU ([\d.]+) us/,
  },
}

/** One run of hload against one contender; its figure. */
async function measure(contender: Contender, protocol: Protocol, figure: Figure): Promise<number> {
  const count = Math.max(1, Math.round(Number(values.requests) * figure.share))
  const target = ['-p', protocol, '-u', urlOf(contender, protocol, figure.path)]
  const account = ['-pid', family(contender.pid).join(','), '-l', contender.name]
  const load = ['-n', String(count), ...figure.load(protocol)]
  const { stdout: text } = await promisify(execFile)('hload', [...target, ...account, ...load])
  const found = figure.value.exec(text)?.[1]
  if (found === undefined || !text.includes(' err=0 ')) throw new Error(text)
  return Number(found)
}

const median = (numbers: number[]): number =>
  numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0

async function race(
  name: string,
  figure: Figure,
  contenders: readonly Contender[],
): Promise<Bar[]> {
  await proveEqual(contenders, figure.path, figure.bytes)
  const bars: Bar[] = []
  for (const protocol of figure.protocols) {
    const racers = contenders.filter((contender) => contender.protocols.includes(protocol))
    const lists = new Map(racers.map((racer) => [racer, [] as number[]]))
    for (let round = figure.rehearsed ? -1 : 0; round < Number(values.rounds); round += 1) {
      for (const racer of racers) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other is the purpose
        const value = await measure(racer, protocol, figure)
        if (round >= 0) lists.get(racer)?.push(value)
        console.error(`  ${name} ${protocol} ${racer.name}, round ${round + 1}: ${value}`)
      }
    }
    for (const [racer, list] of lists) {
      const value = median(list)
      const digits = value < 10 ? 2 : 1
      const spread = `${Math.min(...list).toFixed(digits)}–${Math.max(...list).toFixed(digits)}`
      console.log(
        `${name.padEnd(9)} ${protocol.padEnd(3)} ${racer.name.padEnd(8)} ` +
          `${value.toFixed(digits)} ${figure.unit}  (${spread})`,
      )
      bars.push({ figure: name, unit: figure.unit, protocol, contender: racer.name, value })
    }
  }
  return bars
}

const names = values.only.split(',')
const missing = missingPrograms(names)
if (missing.length > 0) {
  const mend = 'put it on PATH (hload: built from ../shared/tools/hload), or name others by --only'
  console.error(`not run: no ${missing.join(' and no ')} here; ${mend}`)
  process.exit(1)
}
const field = await startField(names, values['access-log'])
try {
  const bars: Bar[] = []
  for (const name of values.figures.split(',')) {
    const figure = figures[name]
    if (figure === undefined) throw new Error(`there is no figure ${name}`)
    // oxlint-disable-next-line no-await-in-loop
    bars.push(...(await race(name, figure, field.contenders)))
  }
  if (values.picture !== undefined) writeFileSync(values.picture, picture(bars))
} finally {
  field.stop()
}
