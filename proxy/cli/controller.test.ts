/** `edge controller` as a program: what it says outside of a cluster, and its whole life. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, test, vi } from 'vitest'
import { FakeApiServer } from '../../kubernetes/api-server.fixture.ts'
import { inCluster } from '../../kubernetes/in-cluster.ts'
import { ConfigError } from '../config/faults.ts'
import { controller } from './controller.ts'

const silent = { print: () => undefined, error: () => undefined }

describe('outside of a cluster', () => {
  test.each([
    [[], 'env KUBERNETES_SERVICE_HOST: it is not set: this is no pod of a Kubernetes'],
    [['--server', 'https://x:1'], '--server needs --namespace'],
    [['--server', 'x'], '--server: "x" is not http(s)://HOST:PORT'],
    [['--address-types', 'internalip'], 'did you mean InternalIP?'],
    [['--status', 'x', '--server', 'http://x:1', '--namespace', 'y'], 'is not ADDRESS:PORT'],
    [['--server', 'http://x:1', '--namespace', 'y', '--ca-file', '/none'], '--ca-file: ENOENT'],
    [['--naemspace', 'y'], 'did you mean --namespace?'],
  ])('%s', async (args, said) => {
    await expect(controller(args, { ...silent, env: {} })).rejects.toThrow(said)
  })

  test('it is a fault of the configuration', async () => {
    const asked = controller([], { ...silent, env: {} })
    await expect(asked).rejects.toThrow(ConfigError)
  })
})

test('a pod finds its cluster by what is mounted, and says what is missing', () => {
  const folder = mkdtempSync(join(tmpdir(), 'in-cluster-'))
  const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' }
  expect(() => inCluster(env, folder)).toThrow('ENOENT')
  for (const name of ['token', 'ca.crt', 'namespace']) {
    writeFileSync(join(folder, name), `${name}\n`)
  }
  expect(inCluster(env, folder)).toEqual({
    place: { server: 'https://[fd00::1]:6443', ca: 'ca.crt\n', tokenFile: join(folder, 'token') },
    namespace: 'namespace',
  })
  rmSync(folder, { recursive: true })
})

test('a whole life: ready, leading, metrics, and the lease given back', async () => {
  const server = new FakeApiServer()
  await server.start()
  const main = new URL('../main.ts', import.meta.url).pathname
  const place = ['--server', server.url, '--namespace', 'here', '--lease', 'lease']
  const args = [main, 'controller', ...place, '--status', '127.0.0.1:0']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] })
  try {
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
    const port = Number(/^ready status=http:\/\/127\.0\.0\.1:(\d+)$/.exec(line)?.[1])
    const patience = { timeout: 30_000 }
    const read = async (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`)
    await vi.waitFor(async () => expect((await read('/readyz')).status).toBe(200), patience)
    await vi.waitFor(async () => {
      const text = await (await read('/metrics')).text()
      expect(text).toContain('\nedge_controller_leader 1\n')
      expect(text).toContain('\nedge_controller_lists_total{resource="nodes"} 1\n')
    }, patience)
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
    expect(server.get('leases', 'lease')?.['spec']).toMatchObject({ holderIdentity: '' })
  } finally {
    child.kill('SIGKILL')
    await server.stop()
  }
}, 90_000)
