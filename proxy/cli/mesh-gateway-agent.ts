/** `edge mesh gateway-agent`: stands for destinations beside it, at a gateway. */
import { hostname } from 'node:os'
import { runGatewayAgent } from '../../mesh/gateway/agent.ts'
import { parseIdentifiers } from '../../mesh/gateway/identifiers.ts'
import { UsageError } from '../config/faults.ts'
import { operationLog } from '../log.ts'
import { listenToSignals } from '../signals.ts'
import { exitCodes } from './exit-codes.ts'
import { secretIn } from './mesh-doors.ts'
import { required } from './mesh-flags.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = {
  'proxy-server-host': { type: 'string' },
  'proxy-server-port': { type: 'string', default: '8132' },
  'agent-identifiers': { type: 'string' },
  'secret-file': { type: 'string' },
  name: { type: 'string', default: hostname() },
} as const

/** Until SIGTERM or SIGINT. */
export async function meshGatewayAgent(
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const command = 'edge mesh gateway-agent'
  const { values, positionals } = parseFlags(command, args, options)
  noPositionals(command, positionals)
  const host = required('--proxy-server-host', values['proxy-server-host'])
  const port = Number(values['proxy-server-port'])
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new UsageError(`--proxy-server-port: "${values['proxy-server-port']}" is no port`)
  }
  const identifiers = required('--agent-identifiers', values['agent-identifiers'])
  parseIdentifiers(identifiers) // before anything is asked of others
  const secret = secretIn(values['secret-file'])
  const signals = listenToSignals()
  const { log, flush } = operationLog('info')
  const ending = new AbortController()
  void signals.end.then(() => ending.abort())
  const onReady = (): void => terminal.print(`ready gateway=${host}:${port} ${identifiers}`)
  const gateway = { host, port }
  await runGatewayAgent(
    { name: values.name, gateway, identifiers, secret, log, onReady },
    ending.signal,
  )
  flush()
  return exitCodes.fine
}
