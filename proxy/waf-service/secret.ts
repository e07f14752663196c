/** What proxies and the WAF service both know, so that nobody else asks or answers. */
import { readFileSync } from 'node:fs'
import { reasonOf } from '../../waf/reason-of.ts'
import { ConfigError } from '../config/faults.ts'
import type { EdgeConfig } from '../config/schema.ts'

const charactersMin = 16

/** '' where no file is named. A file that cannot serve is a fault of the configuration. */
export function serviceSecret({ waf }: EdgeConfig): string {
  const { secretFile } = waf.service
  if (secretFile === null) return ''
  const secret = read(secretFile).trim()
  if (secret.length >= charactersMin) return secret
  throw fault(`${secretFile} holds fewer than ${charactersMin} characters`)
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw fault(reasonOf(error))
  }
}

function fault(message: string): ConfigError {
  const mend = 'name a file with a long random text, the same for proxies and service'
  return new ConfigError([{ where: 'waf.service.secretFile', message, mend }])
}
