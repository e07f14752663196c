/**
 * `npm run e2e:mesh-kernel -- [--kernel linux-image-6.12-amd64] [--only nodes,key]`: the mesh on
 * the kernel's own WireGuard, in a guest (test/guest) whose kernel has it: three nodes in
 * namespaces, peers that come and go under a flow, an agent that is killed, keys that change, an
 * interface of somebody else, leaders of locations. Emulated: what is counted is packets, never
 * time. Some ten minutes on a quiet machine. `--only` takes words of the stories; most need
 * `nodes`, which brings two up.
 */
import { parseArgs } from 'node:util'
import { runGuest } from '../guest/guest.ts'
import { parseGuest } from '../guest/options.ts'

const { values } = parseArgs({
  options: { kernel: { type: 'string' }, only: { type: 'string', default: '' } },
})
const kernel = values.kernel === undefined ? [] : ['--kernel', values.kernel]
const size = ['--memory', '3072', '--deadline', '3600', ...kernel]
const command = [process.execPath, `${import.meta.dirname}/mesh-kernel-stage.ts`, values.only]
process.exitCode = await runGuest(parseGuest([...size, '--', ...command]))
