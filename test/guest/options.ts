/** What is asked of a guest, and the words that carry it there. */
import { parseArgs } from 'node:util'

/** One run of a guest. */
export interface GuestOptions {
  readonly memoryMib: number
  readonly cpus: number
  readonly deadlineMs: number
  /** Debian's package of the kernel, or one that only names the newest. */
  readonly kernel: string
  /** A program and its arguments. */
  readonly command: readonly string[]
}

/** Debian's stable kernel, whichever that is. */
const defaultKernel = 'linux-image-amd64'

/** Reads the command line of `npm run e2e:guest`; throws one sentence. */
export function parseGuest(args: readonly string[]): GuestOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      memory: { type: 'string', default: '4096' },
      cpus: { type: 'string', default: '2' },
      deadline: { type: 'string', default: '3600' },
      kernel: { type: 'string', default: defaultKernel },
    },
  })
  if (positionals.length === 0) throw new Error('which command? write it behind --')
  if (!/^linux-image-[\w.+-]+$/.test(values.kernel)) {
    throw new Error(`--kernel ${values.kernel}: not the name of a Debian package of Linux`)
  }
  return {
    // Below 256 MiB the kernel itself, its modules and Node do not fit.
    memoryMib: within('--memory', values.memory, [256, 65_536]),
    cpus: within('--cpus', values.cpus, [1, 64]),
    deadlineMs: within('--deadline', values.deadline, [1, 86_400]) * 1000,
    kernel: values.kernel,
    command: positionals,
  }
}

function within(name: string, text: string, [min, max]: readonly [number, number]): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new Error(`${name} ${text}: not a whole number from ${min} to ${max}`)
}

/** Where the job runs, and with which environment. */
export interface Surroundings {
  readonly directory: string
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Descriptors that a program of the guest may open. */
  readonly descriptors: number
}

/** What a host's environment means in the guest; all else there is the host's own affair. */
const carried = /^(?:PATH|HOME|LANG|LC_\w+|EDGE_\w+)$/

/** The shell script that runs `command`. */
export function jobScript(command: readonly string[], where: Surroundings): string {
  const names = Object.keys(where.environment).filter((name) => carried.test(name))
  const exports = names.map((name) => `export ${name}=${quoted(where.environment[name] ?? '')}`)
  const run = `exec ${command.map(quoted).join(' ')}`
  const place = [`ulimit -n ${where.descriptors}`, `cd ${quoted(where.directory)}`]
  return `${[...exports, ...place, run].join(' &&\n')}\n`
}

/** POSIX.1-2024, XCU 2.2.2: between single quotes all but the quote stands for itself. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
