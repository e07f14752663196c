/**
 * Agents of a cluster have no right on its API. They show the coordinator the token that the
 * kubelet gave their pod for the mesh alone; the API server says whose it is, and the node that it
 * is bound to is the only name its agent can join under.
 */
import { type Api, ApiError } from '../../kubernetes/api.ts'
import { MeshFault } from '../fault.ts'
import { read, type TokenReview } from './objects.ts'

/** Whose tokens are taken. */
export interface AdmissionOptions {
  /** What the token must be for. */
  readonly audience: string
  /** `system:serviceaccount:NAMESPACE:NAME` */
  readonly account: string
}

const reviews = '/apis/authentication.k8s.io/v1/tokenreviews'
/** Claims of a bound token, as a TokenReview tells them. */
const claims = 'authentication.kubernetes.io'
/** Asked at once; agents try again by themselves. */
const reviewsMax = 64

/** The tokens of one ServiceAccount. */
export class Admission {
  readonly #api: Api
  readonly #options: AdmissionOptions
  #asking = 0

  constructor(api: Api, options: AdmissionOptions) {
    this.#api = api
    this.#options = options
  }

  /** The node that a token is bound to; null when it is no token of Kubernetes. */
  async nodeOf(token: string): Promise<string | null> {
    // Ours have three parts, too.
    if (token.startsWith('edge1.') || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return null
    if (this.#asking >= reviewsMax) {
      throw refused('REVIEWS_MAX', `${reviewsMax} tokens are being reviewed already`)
    }
    this.#asking += 1
    try {
      return await this.#reviewed(token)
    } finally {
      this.#asking -= 1
    }
  }

  async #reviewed(token: string): Promise<string> {
    const { audience, account } = this.#options
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, audiences: [audience] },
    }
    const { status } = read.tokenReview(await this.#api.call('POST', reviews, body))
    // A server that knows no audiences leaves them out: then nothing says what the token is for.
    if (status.authenticated !== true || status.audiences?.includes(audience) !== true) {
      throw refused('TOKEN_REFUSED', status.error ?? `it is no valid token for ${audience}`)
    }
    const { username = '' } = status.user ?? {}
    if (username !== account) {
      throw refused('ACCOUNT_OTHER', `it is of ${username}, and only ${account} joins`)
    }
    return this.#boundNode(status)
  }

  /** Servers before 1.30 tell the pod alone. */
  async #boundNode({ user }: TokenReview['status']): Promise<string> {
    const claim = (name: string): string | undefined => user?.extra?.[`${claims}/${name}`]?.[0]
    const node = claim('node-name')
    if (node !== undefined) return node
    const [name, uid] = [claim('pod-name'), claim('pod-uid')]
    if (name === undefined || uid === undefined) {
      throw refused('TOKEN_UNBOUND', 'it is bound to no pod, so that it says nothing of a node')
    }
    const [, , namespace = ''] = this.#options.account.split(':')
    const pod = await this.#pod(`/api/v1/namespaces/${namespace}/pods/${name}`)
    if (pod?.metadata.uid === uid && pod.spec.nodeName !== undefined) return pod.spec.nodeName
    throw refused('TOKEN_UNBOUND', `its pod ${name} is gone`)
  }

  async #pod(path: string): Promise<ReturnType<typeof read.pod> | null> {
    try {
      return read.pod(await this.#api.call('GET', path))
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return null
      throw error
    }
  }
}

function refused(code: string, message: string): MeshFault {
  return new MeshFault(code, {
    where: '--token-file',
    message,
    mend: "mount a projected token: the coordinator's audience, of its ServiceAccount",
  })
}
