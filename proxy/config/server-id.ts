/**
 * `quic.serverId`: what a balancer that routes by connection ids knows this program by. It differs
 * from pod to pod, so it may come from the environment or from a file, too.
 */
import { z } from 'zod'
import { mends } from './fields.ts'
import type { Fault } from './faults.ts'
import { applySettings, isSection, type Origins } from './layer.ts'
import { readText } from './read-text.ts'

/** As draft-ietf-quic-load-balancers leaves open, and AWS' Network Load Balancer demands. */
const bytes = 8
const path = ['quic', 'serverId']
const mend =
  'write 0x and 16 hexadecimal digits in quotes, base64 of 8 bytes, env:NAME or file:/PATH'

/** Becomes the bytes. */
export function serverId() {
  return z
    .string()
    .transform((text, context): readonly number[] => {
      const digits = /^0x([0-9a-fA-F]{16})$/.exec(text)?.[1]
      const isBase64 = /^[A-Za-z0-9+/]{11}=$/.test(text)
      if (digits !== undefined) return [...Buffer.from(digits, 'hex')]
      if (isBase64) return [...Buffer.from(text, 'base64')]
      context.addIssue({
        code: 'custom',
        message: `"${text}" is not a server id of ${bytes} bytes`,
      })
      return z.NEVER
    })
    .register(mends, { mend })
}

/** The configuration with what `env:NAME` or `file:/PATH` names in place of the name. */
export function readServerId(
  written: unknown,
  env: Readonly<Record<string, string | undefined>>,
  origins: Origins,
): { readonly written: unknown; readonly faults: readonly Fault[] } {
  const quic = isSection(written) ? written['quic'] : null
  const reference = isSection(quic) ? quic['serverId'] : null
  const [, kind, name = ''] = /^(env|file):(.+)$/.exec(String(reference)) ?? []
  if (kind === undefined) return { written, faults: [] }
  const faults: Fault[] = []
  const where = origins.get(path)
  const report = (message: string, how: string): void => {
    faults.push({ where, message, mend: how })
  }
  const value = kind === 'env' ? env[name]?.trim() : readText(name, report)?.trim()
  if (kind === 'env' && !value) {
    const aws =
      'label the namespace elbv2.k8s.aws/quic-server-id-inject=enabled, then restart the pod'
    const how = name.startsWith('AWS_LBC_') ? aws : `set ${name}`
    report(`quic.serverId: the variable ${name} is not set`, how)
  }
  if (faults.length > 0 || value === undefined) {
    return { written: applySettings(written, [{ path, value: null, where }], origins), faults }
  }
  const from = `${where} (${kind}:${name})`
  return { written: applySettings(written, [{ path, value, where: from }], origins), faults }
}
