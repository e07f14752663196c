// The demo of `npm start`, on the pinned Node: rules, a backend, the edge in front, lines to try.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { crsVersion, installedRules } from '../proxy/rules.ts'
import { stateDirectory } from '../proxy/directories.ts'
import { main, Missing, root } from './paths.mjs'
import { ended, run } from './run-command.mjs'

const edge = join(root, 'edge')

async function rules() {
  if (installedRules(process.env) === null) {
    console.error('rules: none yet, installing the OWASP Core Rule Set')
    await run(edge, ['rules', 'install'], { stdio: ['ignore', 2, 2] })
  }
  const folder = installedRules(process.env)
  if (folder === null) throw new Missing('start: there are no rules, see above')
  console.log(`rules: OWASP CRS ${crsVersion(folder)} from ${folder}`)
  return folder
}

/** Starts a child apart from our terminal's signals: it is stopped once, by us, and drains. */
function start(command, args) {
  return spawn(command, args, { cwd: root, detached: true, stdio: ['pipe', 'pipe', 'inherit'] })
}

function firstLine(child) {
  return new Promise((resolve) => {
    createInterface(child.stdout)
      .once('line', resolve)
      .once('close', () => resolve(''))
  })
}

/** `ready http=0.0.0.0:8080 https=0.0.0.0:8443 …` */
function portOf(ready, listener) {
  return new RegExp(`\\b${listener}=\\S*:(\\d+)`).exec(ready)?.[1] ?? null
}

function linesToTry(ready) {
  const http = portOf(ready, 'http')
  const https = portOf(ready, 'https')
  const ca = join(stateDirectory(process.env), 'tls/ca.pem')
  const lines = ['', 'Try in another terminal:']
  const add = (text, command) => lines.push(`  # ${text}`, `  ${command}`)
  if (http !== null) {
    add('the redirect to https', `curl -i http://localhost:${http}/`)
    add('health, for load balancers', `curl -i http://localhost:${http}/_gwhealthz`)
  }
  if (https !== null) {
    const curl = `curl --cacert ${ca}`
    const url = `https://localhost:${https}`
    add('HTTP/1.1', `${curl} --http1.1 ${url}/`)
    add('HTTP/2', `${curl} --http2 ${url}/`)
    add('HTTP/3 (a curl with HTTP/3)', `${curl} --http3-only ${url}/`)
    add('an attack: 403', `${curl} -i "${url}/?id=1'%20OR%20'1'='1"`)
  }
  return [...lines, '', 'Ctrl-C stops it.'].join('\n')
}

await main(async () => {
  const folder = await rules()
  const backend = start(process.execPath, [join(root, 'scripts/demo-backend.mjs')])
  const children = [backend]
  let stopping = 0
  const stop = () => {
    // npm, the shell and the terminal may each send the same Ctrl-C; only a later one is a second.
    if (stopping !== 0 && Date.now() - stopping < 1_000) return
    const signal = stopping === 0 ? 'SIGTERM' : 'SIGKILL'
    stopping ||= Date.now()
    for (const child of children) if (child !== backend) child.kill(signal)
    if (children.length === 1) backend.stdin.end()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  const url = await firstLine(backend)
  if (url === '') throw new Missing('start: the demo backend did not start')
  const listeners = ['--http', '0.0.0.0:8080', '--https', '0.0.0.0:8443']
  const flags = [
    '--backend',
    url,
    '--rules',
    folder,
    ...listeners,
    '--advertise-https-port',
    '8443',
  ]
  const child = start(edge, ['run', ...flags, ...process.argv.slice(2)])
  children.push(child)
  if (stopping !== 0) child.kill('SIGTERM')
  createInterface(child.stdout).on('line', (line) => {
    console.log(line)
    if (line.startsWith('ready ')) console.log(linesToTry(line))
  })
  const code = await ended(child)
  // After the edge has drained, so that it has a backend until its last exchange.
  backend.stdin.end()
  await ended(backend)
  return code
})
