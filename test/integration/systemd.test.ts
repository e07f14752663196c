/** Under a service manager: its sockets are served, and it is told what happens. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startBackend } from '../harness/backend.ts'
import { freePort, root } from '../harness/edge.ts'
import { until } from '../harness/wait.ts'

// Plays systemd: binds as a .socket unit would, writes down what it is told, becomes the program.
const launcher = `
import os, socket, sys, threading
log, port, names = sys.argv[1], int(sys.argv[2]), sys.argv[3]
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind("\\0edge-notify-" + str(port))
pid = os.fork()
if pid != 0:
    out = open(log, "w", buffering=1)
    notify.settimeout(0.1)
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        try:
            out.write(notify.recv(4096).decode().replace("\\n", " ") + "\\n")
        except socket.timeout:
            pass
    sys.exit(0)
sockets = []
if names != "":
    for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM):
        s = socket.socket(socket.AF_INET, kind)
        s.bind(("127.0.0.1", port + (0 if not sockets else 1)))
        if kind == socket.SOCK_STREAM:
            s.listen(128)
        sockets.append(os.dup(s.fileno()))
    high = [os.dup2(fd, 50 + i) for i, fd in enumerate(sockets)]
    for i, fd in enumerate(high):
        os.dup2(fd, 3 + i)
    os.environ.update(LISTEN_FDS="3", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names)
os.environ.update(NOTIFY_SOCKET="@edge-notify-" + str(port), WATCHDOG_USEC="400000")
print(os.getpid(), flush=True)
os.execv(sys.argv[4], sys.argv[4:])
`

let folder = ''
let child: ChildProcess | null = null
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-systemd-'))
  writeFileSync(join(folder, 'launcher.py'), launcher)
})
afterEach(() => {
  child?.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

async function launched(port: number, names: string, args: readonly string[]) {
  const log = join(folder, 'notified')
  writeFileSync(log, '')
  const own = [join(folder, 'launcher.py'), log, String(port), names]
  const environment = { ...process.env, XDG_STATE_HOME: join(folder, 'state') }
  child = spawn('python3', [...own, join(root, 'edge'), 'run', ...args], {
    cwd: folder,
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  const ended = once(child, 'exit')
  const told = (): string => readFileSync(log, 'utf8')
  return {
    ended,
    told,
    output: () => text,
    /** The program itself: the launcher is its parent. */
    signal: (name: NodeJS.Signals) => process.kill(Number(/^\d+/.exec(text)?.[0]), name),
  }
}

test('sockets of the unit are served by name, and each step is told', async () => {
  const backend = await startBackend()
  const port = await freePort()
  const args = ['--backend', backend.url, '--waf', 'off', '--no-redirect', '--wire-threads', '2']
  const edge = await launched(port, 'http:https:https', args)
  await until(`READY=1 in ${edge.output()}`, () => edge.told().includes('READY=1'))
  expect(edge.output()).toContain(`ready http=127.0.0.1:${port} https=127.0.0.1:${port + 1}`)
  for (let count = 0; count < 8; count += 1) {
    // oxlint-disable-next-line no-await-in-loop
    const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })
    expect(answer.status).toBe(200)
  }
  await until('signs of life', () => edge.told().includes('WATCHDOG=1'))
  edge.signal('SIGHUP')
  await until('a reload', () => edge.told().includes('serving generation 2'))
  expect(edge.told()).toMatch(/RELOADING=1 MONOTONIC_USEC=\d+ STATUS=reloading/)
  edge.signal('SIGTERM')
  await edge.ended
  expect(edge.told()).toContain('STOPPING=1')
  backend.close()
}, 60_000)

test('a socket that belongs to no listener is a mistake that is told', async () => {
  const port = await freePort()
  const edge = await launched(port, 'x:y:z', ['--waf', 'off', '--https', 'off'])
  await edge.ended
  expect(edge.output()).toContain('write FileDescriptorName=http or https')
}, 60_000)
