// What the image says about itself, and how it is started; the Dockerfile says the same.
import { environment, packageVersion, user } from './contents.mjs'

/** Labels of the image. */
export function labelsOf(rulesVersion) {
  const title = 'org.opencontainers.image'
  return {
    [`${title}.title`]: 'quic-proxy-waf',
    [`${title}.description`]: 'An edge proxy for HTTP/1.1, HTTP/2 and HTTP/3 with a WAF',
    [`${title}.version`]: packageVersion(),
    [`${title}.licenses`]: 'Apache-2.0',
    'quic-proxy-waf.rules': rulesVersion,
  }
}

/** How a container of it starts. */
export const startConfig = {
  User: `${user}:${user}`,
  Env: environment,
  Entrypoint: ['/usr/local/bin/edge'],
  Cmd: ['run'],
  WorkingDir: '/',
  ExposedPorts: { '80/tcp': {}, '443/tcp': {}, '443/udp': {} },
  StopSignal: 'SIGTERM',
}
