/** A light load that counts: every request that was started must have succeeded. */
import { Agent as HttpAgent, get as httpGet, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, get as httpsGet } from 'node:https'

/** What became of the load. */
export interface LoadResult {
  readonly started: number
  readonly succeeded: number
  /** The first few failures, as text. */
  readonly failures: readonly string[]
}

/** A load that runs until it is stopped. */
export interface Load {
  /** Requests that succeeded so far. */
  readonly succeeded: number
  stop(): Promise<LoadResult>
}

const failuresKept = 20
const patienceMs = 20_000

/**
 * One loop for each URL and kind of connection: kept ones (`keep`) and a new one for each request
 * (`fresh`). The certificate is not judged: that is another test.
 */
export function startLoad(
  urls: readonly string[],
  kinds: readonly ('keep' | 'fresh')[] = ['keep', 'fresh'],
): Load {
  let running = true
  let started = 0
  let succeeded = 0
  const failures: string[] = []
  const loop = async (url: string, agent: HttpAgent | HttpsAgent | false): Promise<void> => {
    while (running) {
      started += 1
      try {
        // Loops take turns: each starts the next request when its last one is over.
        // oxlint-disable-next-line no-await-in-loop
        const status = await request(url, agent)
        if (status === 200) succeeded += 1
        else failures.push(`${url}: ${status}`)
      } catch (error) {
        failures.push(`${url} ${agent === false ? 'fresh' : 'kept'}: ${String(error)}`)
      }
      // oxlint-disable-next-line no-await-in-loop
      await new Promise((resolve) => {
        setTimeout(resolve, 1)
      })
    }
    if (agent !== false) agent.destroy()
  }
  const loops = urls.flatMap((url) =>
    kinds.map((kind) => {
      const Agent = url.startsWith('https:') ? HttpsAgent : HttpAgent
      return loop(url, kind === 'keep' ? new Agent({ keepAlive: true, maxSockets: 1 }) : false)
    }),
  )
  return {
    get succeeded() {
      return succeeded
    },
    async stop() {
      running = false
      await Promise.all(loops)
      return { started, succeeded, failures: failures.slice(0, failuresKept) }
    },
  }
}

function request(url: string, agent: HttpAgent | HttpsAgent | false): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const answered = (response: IncomingMessage): void => {
    response.on('error', reject)
    response.on('end', () => resolve(response.statusCode ?? 0))
    response.resume()
  }
  const options = { agent, timeout: patienceMs, rejectUnauthorized: false }
  const get = url.startsWith('https:') ? httpsGet : httpGet
  const sent = get(url, options, answered)
  sent.on('timeout', () => sent.destroy(new Error('timeout')))
  sent.on('error', reject)
  return promise
}
