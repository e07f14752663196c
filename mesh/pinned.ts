/**
 * Requests to a coordinator, both ends known by their keys: a connection for each, since an agent
 * asks so rarely that none would be kept open meanwhile. By Node's own client: undici, which has
 * its own of everything, was 3 MB of an agent that makes three requests in a minute.
 */
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { isIP } from 'node:net'
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import { MeshFault } from './fault.ts'
import type { Identity } from './identity.ts'
import { meshLimits } from './limits.ts'
import { pinOf } from './token.ts'

/** What a coordinator is known by; a function where that may change. */
export type Pin = string | (() => string)

/** What is asked. */
export interface Question {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal: AbortSignal
}

/** `url` is `https://HOST:PORT`; `pin` is what its certificate's key must hash to. */
export class PinnedPlace {
  readonly #url: URL
  readonly #host: string
  readonly #pin: Pin
  // Once, and not for each connection: to read keys costs as much as a handshake.
  readonly #context: SecureContext
  readonly #open = new Set<TLSSocket>()
  // Of the newest connection that was known: whoever can resume it is who that was (RFC 8446 §2.2),
  // and shows no certificate. A fleet comes back in half the time.
  #session: Buffer | null = null
  #isClosed = false

  constructor(url: string, pin: Pin, identity: Identity | null) {
    this.#url = new URL(url)
    this.#host = this.#url.hostname.replace(/^\[(.*)\]$/, '$1')
    this.#pin = pin
    const own = identity === null ? {} : { key: identity.key, cert: identity.certificate }
    this.#context = createSecureContext({ ...own, ecdhCurve: meshLimits.curves })
  }

  /** The answer, once its head is there; its body may take as long as the signal lets it. */
  async ask({ method, path, headers, body, signal }: Question): Promise<IncomingMessage> {
    const socket = await this.#connected(signal)
    const { host } = this.#url
    const createConnection = (): TLSSocket => socket
    const named = { host, ...headers }
    const asked = request({ createConnection, method, path, headers: named, signal })
    asked.on('error', ignored) // once there is an answer, that one tells of it
    asked.end(body)
    return within('the coordinator does not answer', asked, async () => {
      const [answer]: IncomingMessage[] = await once(asked, 'response')
      if (answer === undefined) throw new Error('no answer')
      return answer
    })
  }

  /** Ends what is under way. */
  close(): void {
    this.#isClosed = true
    const reason = new Error('the client was closed')
    for (const socket of this.#open) socket.destroy(reason)
  }

  /** A connection that is known to end at the coordinator of the token. */
  async #connected(signal: AbortSignal): Promise<TLSSocket> {
    signal.throwIfAborted()
    if (this.#isClosed) throw new Error('the client was closed')
    const offered = this.#session
    const socket = connect({
      host: this.#host,
      port: Number(this.#url.port || 443),
      ...(isIP(this.#host) === 0 ? { servername: this.#host } : {}),
      secureContext: this.#context,
      ...(offered === null ? {} : { session: offered }),
      // Known by its key and by nothing else: names and dates of its certificate say nothing.
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
    })
    socket.on('error', ignored) // whoever waits for it is told
    this.#open.add(socket)
    socket.once('close', () => this.#open.delete(socket))
    await within('the coordinator takes no connection', socket, () =>
      once(socket, 'secureConnect', { signal }),
    )
    if (isKnown(socket, this.#pin, offered !== null)) {
      socket.on('session', (fresh: Buffer) => (this.#session = fresh))
      return socket
    }
    socket.destroy()
    throw otherCoordinator(this.#host)
  }
}

/** Waits for it, but not longer than a request may take; what fails is over. */
async function within<T>(
  refusal: string,
  pending: { destroy(error?: Error): unknown },
  wait: () => Promise<T>,
): Promise<T> {
  const { requestTimeoutMs } = meshLimits
  const fall = (): unknown => pending.destroy(new Error(`${refusal} in ${requestTimeoutMs} ms`))
  const timer = setTimeout(fall, requestTimeoutMs)
  try {
    return await wait()
  } catch (error) {
    pending.destroy()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

function isKnown(socket: TLSSocket, pin: Pin, isOffered: boolean): boolean {
  if (isOffered && socket.isSessionReused()) return true
  const shown = socket.getPeerX509Certificate()
  return shown !== undefined && pinOf(shown) === (typeof pin === 'string' ? pin : pin())
}

function otherCoordinator(host: string): MeshFault {
  return new MeshFault('COORDINATOR_OTHER', {
    where: '--coordinator',
    message: `${host} is not the coordinator that the token is from`,
    mend: 'correct the URL, or make a token with the --state of the coordinator that runs there',
  })
}

function ignored(): void {
  // An event without a listener would end the program.
}
