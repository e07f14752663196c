/** The keys of one element of `upstreams`: where requests go, and what is done when that fails. */
import { z } from 'zod'
import {
  choice,
  cookieName,
  count,
  duration,
  endpointUrl,
  flag,
  hashKey,
  hostName,
  name,
  path,
  statusRange,
  targetPath,
} from './fields.ts'

const endpoint = z.strictObject({
  url: endpointUrl().describe('http://HOST:PORT, https://HOST:PORT or mesh://NODE:PORT'),
  weight: count(1, 100).prefault(1).describe('Share of the requests, against the others'),
  eachAddress: flag()
    .prefault(false)
    .describe('Every address of the name is an endpoint; else they are tried in order'),
})

const tls = z.strictObject({
  caFile: path()
    .nullable()
    .prefault(null)
    .describe('PEM file: the trusted authorities; null: those of this machine'),
  serverName: hostName()
    .nullable()
    .prefault(null)
    .describe('Name in SNI and in the certificate; null: the host of the URL'),
  verify: flag().prefault(true).describe('Refuse a certificate that is not trusted'),
  clientCertFile: path()
    .nullable()
    .prefault(null)
    .describe('PEM file: the certificate shown to the endpoint, then its chain'),
  clientKeyFile: path().nullable().prefault(null).describe('PEM file: its private key'),
})

const hash = z.strictObject({
  on: hashKey()
    .prefault('client-address')
    .describe('What is hashed: client-address, path, header:NAME or cookie:NAME'),
})

const sticky = z.strictObject({
  cookie: cookieName()
    .nullable()
    .prefault(null)
    .describe('Name of the cookie; null: edge_ and the name of the upstream'),
  keyFile: path()
    .nullable()
    .prefault(null)
    .describe('File with a secret, the same on every edge, that seals the cookie; null: unsealed'),
})

const health = z
  .strictObject({
    path: targetPath().prefault('/').describe('What is asked for'),
    host: hostName().nullable().prefault(null).describe('Host of the probe; null: that of the URL'),
    interval: duration(100).prefault('5s').describe('Time between probes of one endpoint'),
    timeout: duration(1).prefault('2s').describe('Longest wait for the answer'),
    healthyAfter: count(1, 100).prefault(2).describe('Good probes until it is used again'),
    unhealthyAfter: count(1, 100).prefault(3).describe('Bad probes until it is not used'),
    status: statusRange().prefault('200-399').describe('Good answers: FROM-TO'),
  })
  .transform(({ interval, timeout, ...rest }) => ({
    ...rest,
    intervalMs: interval,
    timeoutMs: timeout,
  }))

const ejection = z
  .strictObject({
    consecutiveFailures: count(0, 1000)
      .prefault(5)
      .describe('Failures in a row, in one worker, until an endpoint is ejected; 0: never'),
    serverErrors: flag().prefault(false).describe('An answer of 5xx counts as a failure'),
    time: duration(1).prefault('10s').describe('Time until it is tried again; doubles each time'),
    timeMax: duration(1).prefault('5m').describe('Longest such time'),
    maxPercent: count(0, 100)
      .prefault(50)
      .describe('Share of the endpoints that may be ejected; of two or more always one'),
  })
  .transform(({ time, timeMax, ...rest }) => ({ ...rest, timeMs: time, timeMaxMs: timeMax }))

const retry = z.strictObject({
  enabled: flag().prefault(true).describe('One more attempt, elsewhere, when it is safe'),
  budgetPercent: count(0, 100)
    .prefault(10)
    .describe('Share of the requests of ten seconds that may be sent again'),
  budgetMin: count(0, 10_000).prefault(3).describe('Such requests per second in any case'),
})

/** One element of `upstreams`. */
export const upstream = z
  .strictObject({
    name: name().describe('Name that routes refer to'),
    endpoints: z.array(endpoint).min(1).max(1000).describe('Servers that can answer'),
    protocol: choice(['auto', 'http1', 'http2'])
      .prefault('auto')
      .describe('auto: over TLS what the endpoint chooses, in clear HTTP/1.1'),
    tls: tls.prefault({}).describe('For endpoints over https'),
    balance: choice(['round-robin', 'least-outstanding', 'hash', 'sticky'])
      .prefault('round-robin')
      .describe('How an endpoint is chosen'),
    hash: hash.prefault({}).describe('For balance: hash'),
    sticky: sticky.prefault({}).describe('For balance: sticky'),
    health: health.nullable().prefault(null).describe('Probes of every endpoint; null: none'),
    ejection: ejection.prefault({}).describe('What becomes of an endpoint whose requests fail'),
    panic: flag()
      .prefault(true)
      .describe('With no endpoint that is well, use them all; else answer 503'),
    slowStart: duration().prefault('10s').describe('Time until a returned one has its full share'),
    retry: retry.prefault({}).describe('When a request is sent once more'),
    resolveInterval: duration(1_000).prefault('30s').describe('Time between look-ups of a name'),
    connectTimeout: duration(1).prefault('2s').describe('Time to connect'),
    firstByteTimeout: duration(1).prefault('30s').describe('Time to the first byte of the answer'),
    idleTimeout: duration(1).prefault('60s').describe('Longest silence within a body'),
  })
  .transform(({ connectTimeout, firstByteTimeout, idleTimeout, ...rest }) => {
    const { slowStart, resolveInterval, ...others } = rest
    return {
      ...others,
      connectTimeoutMs: connectTimeout,
      firstByteTimeoutMs: firstByteTimeout,
      idleTimeoutMs: idleTimeout,
      slowStartMs: slowStart,
      resolveIntervalMs: resolveInterval,
    }
  })
