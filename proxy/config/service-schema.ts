/** `waf.service`: the WAF as a program of its own, on both of its ends. */
import { z } from 'zod'
import { address, count, duration, path, serviceEndpoint, size } from './fields.ts'

export const service = z
  .strictObject({
    endpoints: z
      .array(serviceEndpoint())
      .max(64)
      .prefault([])
      .describe('HOST:PORT of `edge waf serve`; none: this program inspects by itself'),
    timeout: duration(10)
      .prefault('500ms')
      .describe('Longest wait for a verdict; beyond it waf.onFailure decides'),
    resolveInterval: duration(1_000).prefault('5s').describe('Time between two look-ups of names'),
    secretFile: path()
      .nullable()
      .prefault(null)
      .describe('What proxies and service both know; null: who reaches the port may ask'),
    listen: address()
      .nullable()
      .prefault(null)
      .describe('In `edge waf serve`: where proxies ask; null: they cannot'),
    inFlightMax: count(1, 65_536)
      .prefault(1024)
      .describe('Exchanges on one connection between a proxy and the service'),
    frameMax: size()
      .prefault('1MiB')
      .describe('One message between them: the head of a request, or a verdict'),
    stateTimeout: duration(1_000)
      .prefault('5m')
      .describe('How long the service keeps an exchange that its proxy says nothing of'),
  })
  .transform(({ timeout, resolveInterval, frameMax, stateTimeout, ...rest }) => ({
    ...rest,
    timeoutMs: timeout,
    resolveIntervalMs: resolveInterval,
    frameBytesMax: frameMax,
    stateTimeoutMs: stateTimeout,
  }))
