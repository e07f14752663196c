/** `edge mesh token`: prints a token that lets a node in; also beside a running coordinator. */
import { openState } from '../../mesh/coordinator/state.ts'
import { meshLimits } from '../../mesh/limits.ts'
import { UsageError } from '../config/faults.ts'
import { exitCodes } from './exit-codes.ts'
import { cidrs, required } from './mesh-flags.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = {
  state: { type: 'string' },
  uses: { type: 'string', default: '1' },
  expires: { type: 'string', default: '1h' },
  label: { type: 'string', multiple: true },
  cidr: { type: 'string', multiple: true },
} as const

export async function meshToken(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh token', args, options)
  noPositionals('edge mesh token', positionals)
  const order = {
    uses: usesOf(values.uses),
    lifeMs: lifeOf(values.expires),
    labels: labelsOf(values.label ?? []),
    cidrs: cidrs('--cidr', values.cidr),
  }
  if (order.cidrs.length > meshLimits.cidrsMax) {
    throw new UsageError(`--cidr: a token has at most ${meshLimits.cidrsMax}`)
  }
  const { registry, pin } = await openState(required('--state', values.state))
  const nowMs = Date.now()
  try {
    const { lifeMs, ...rest } = order
    terminal.print(registry.createToken({ ...rest, pin, nowMs, expiresAtMs: nowMs + lifeMs }))
    return exitCodes.fine
  } finally {
    registry.close()
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
