/** Short JSON messages between gateway and agent, one a line; silence ends the connection. */
import type { Duplex } from 'node:stream'
import type { z } from 'zod'
import { gatewayLimits } from './limits.ts'

/** One end of a control connection. */
export interface Lines {
  send(message: object): void
}

/** Hands on each message that `schema` takes; anything else ends the connection. */
export function linesOver<T>(
  stream: Duplex,
  schema: z.ZodType<T>,
  take: (message: T) => void,
): Lines {
  let rest = ''
  let heardMs = performance.now()
  stream.on('data', (chunk: Buffer) => {
    heardMs = performance.now()
    const lines = (rest + chunk.toString('utf8')).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > gatewayLimits.lineBytesMax) return void stream.destroy()
    for (const line of lines) {
      if (line === '') continue // a ping
      try {
        take(schema.parse(JSON.parse(line)))
      } catch {
        return void stream.destroy()
      }
    }
  })
  const pings = setInterval(() => {
    if (performance.now() - heardMs > gatewayLimits.silenceMs) stream.destroy()
    else stream.write('\n')
  }, gatewayLimits.pingIntervalMs)
  stream.on('close', () => clearInterval(pings))
  stream.on('end', () => stream.destroy())
  stream.on('error', () => stream.destroy())
  return { send: (message) => void stream.write(`${JSON.stringify(message)}\n`) }
}
