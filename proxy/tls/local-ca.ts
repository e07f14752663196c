/** A certificate authority of this machine, for those who have no certificate yet. */
import { X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const dayMs = 86_400_000
const renewDays = 7

/** The files of the local CA. */
export interface LocalCertificate {
  /** What clients must trust: `curl --cacert`. */
  readonly caFile: string
  readonly certFile: string
  readonly keyFile: string
}

/** What the certificate is for. */
export interface LocalCaOptions {
  /** The state directory. */
  readonly folder: string
  readonly hostname: string
  readonly now: Date
}

/** The local certificate; made anew when it is missing, ends soon or lacks the host name. */
export async function localCertificate(options: LocalCaOptions): Promise<LocalCertificate> {
  const folder = join(options.folder, 'tls')
  const file = (name: string): string => join(folder, name)
  const files = {
    caFile: file('ca.pem'),
    certFile: file('localhost.pem'),
    keyFile: file('localhost-key.pem'),
  }
  const ca = readCurrent(files.caFile, options.now)
  const leaf = readCurrent(files.certFile, options.now)
  const names = ['localhost', options.hostname.toLowerCase()]
  const isUsable = ca !== null && leaf?.checkIssued(ca) === true && leaf.verify(ca.publicKey)
  if (isUsable && names.every((name) => leaf.checkHost(name) !== undefined)) return files
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  // What makes certificates is large, and nearly every start finds what an earlier one made.
  const { makeCertificate } = await import('./authority.ts')
  await makeCertificate(files, { ...options, folder, names, ca })
  return files
}

/** The certificate in the file, null when there is none or it ends within a week. */
function readCurrent(file: string, now: Date): X509Certificate | null {
  try {
    const certificate = new X509Certificate(readFileSync(file))
    const left = Date.parse(certificate.validTo) - now.getTime()
    return left > renewDays * dayMs ? certificate : null
  } catch {
    return null // missing or damaged: both mean that a new one is made
  }
}
