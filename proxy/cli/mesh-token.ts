/** `edge mesh token`: prints a token that lets a node in: beside the coordinator, or from afar. */
import { readFileSync } from 'node:fs'
import { openState } from '../../mesh/coordinator/state.ts'
import type { TokenRequest } from '../../mesh/entry.ts'
import { MeshFault } from '../../mesh/fault.ts'
import { meshLimits } from '../../mesh/limits.ts'
import { isSharedKey } from '../../mesh/shared-key.ts'
import { type AdminKey, parseAdminKey } from '../../mesh/token.ts'
import { reasonOf } from '../../waf/reason-of.ts'
import { UsageError } from '../config/faults.ts'
import { exitCodes } from './exit-codes.ts'
import { cidrs, coordinatorUrl, required } from './mesh-flags.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = {
  state: { type: 'string' },
  coordinator: { type: 'string' },
  'admin-key': { type: 'string' },
  'psk-file': { type: 'string' },
  uses: { type: 'string', default: '1' },
  expires: { type: 'string', default: '1h' },
  label: { type: 'string', multiple: true },
  cidr: { type: 'string', multiple: true },
} as const

export async function meshToken(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh token', args, options)
  noPositionals('edge mesh token', positionals)
  const { 'psk-file': file } = values
  if (file !== undefined) {
    await share(required('--state', values.state), readGiven('--psk-file', file))
    terminal.error('warning: whoever has this key comes in, any number of times and without end')
    return exitCodes.fine
  }
  const order = {
    uses: usesOf(values.uses),
    lifeMs: lifeOf(values.expires),
    labels: labelsOf(values.label ?? []),
    cidrs: [...cidrs('--cidr', values.cidr)],
  }
  if (order.cidrs.length > meshLimits.cidrsMax) {
    throw new UsageError(`--cidr: a token has at most ${meshLimits.cidrsMax}`)
  }
  const { state, coordinator } = values
  if ((state === undefined) === (coordinator === undefined)) {
    throw new UsageError('edge mesh token: give either --state or --coordinator')
  }
  terminal.print(
    coordinator === undefined
      ? await fromState(required('--state', state), order)
      : await fromAfar(coordinatorUrl(coordinator), adminKeyOf(values, terminal), order),
  )
  return exitCodes.fine
}

/** Seed 000's pre-shared key in place of an earlier one. */
async function share(folder: string, key: string): Promise<void> {
  if (!isSharedKey(key)) throw new UsageError('--psk-file: it does not hold 64 hex characters')
  const { registry } = await openState(folder)
  try {
    registry.share(key)
  } finally {
    registry.close()
  }
}

/** Beside the coordinator: its file is open to both. */
async function fromState(folder: string, { lifeMs, ...order }: TokenRequest): Promise<string> {
  const { registry, pin } = await openState(folder)
  const nowMs = Date.now()
  try {
    return registry.createToken({ ...order, pin, nowMs, expiresAtMs: nowMs + lifeMs })
  } finally {
    registry.close()
  }
}

async function fromAfar(url: string, key: AdminKey, order: TokenRequest): Promise<string> {
  const { CoordinatorClient } = await import('../../mesh/client.ts')
  const client = new CoordinatorClient(url, key.pin, null)
  try {
    return await client.token(order, key)
  } catch (error) {
    if (error instanceof MeshFault) throw error
    const mend = 'see that the coordinator runs there, and that the URL is right'
    throw new MeshFault('COORDINATOR_SILENT', {
      where: '--coordinator',
      message: reasonOf(error),
      mend,
    })
  } finally {
    await client.close()
  }
}

function adminKeyOf(values: { 'admin-key'?: string | undefined }, { env }: Terminal): AdminKey {
  const file = values['admin-key']
  const text = file === undefined ? env['EDGE_MESH_ADMIN_KEY'] : readGiven('--admin-key', file)
  const key = text === undefined ? null : parseAdminKey(text)
  if (key !== null) return key
  const where = file === undefined ? 'EDGE_MESH_ADMIN_KEY' : '--admin-key'
  throw new UsageError(
    `${where}: ${text === undefined ? 'not given' : 'no admin key'}: it is the file admin-key of ` +
      "the coordinator's folder of state",
  )
}

function readGiven(flag: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new UsageError(`${flag}: ${reasonOf(error)}`)
  }
}

function usesOf(text: string): number {
  const uses = /^\d{1,9}$/.test(text) ? Number(text) : 0
  if (uses >= 1 && uses <= meshLimits.tokenUsesMax) return uses
  throw new UsageError(`--uses: "${text}" is not a number from 1 to ${meshLimits.tokenUsesMax}`)
}

const unitsMs: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

function lifeOf(text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? []
  const lifeMs = Number(digits) * (unitsMs[unit] ?? 0)
  if (lifeMs > 0 && lifeMs <= meshLimits.tokenLifeMsMax) return lifeMs
  throw new UsageError(`--expires: "${text}" is not a time up to 366d; write for example 1h`)
}

function labelsOf(texts: readonly string[]): Record<string, string> {
  if (texts.length > meshLimits.labelsMax) {
    throw new UsageError(`--label: a token has at most ${meshLimits.labelsMax}`)
  }
  return Object.fromEntries(
    texts.map((text) => {
      const [, key, value] = /^([\w./-]{1,253})=([\w.-]{0,63})$/.exec(text) ?? []
      if (key !== undefined && value !== undefined) return [key, value]
      throw new UsageError(`--label: "${text}" is not KEY=VALUE`)
    }),
  )
}
