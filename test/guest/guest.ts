/** Boots a guest, and tells how its command ended. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { deviceMode, packArchive } from './initramfs.ts'
import { jobScript, type GuestOptions } from './options.ts'
import { cache, firstModulesOf, supplies, type Supplies } from './supplies.ts'

/** The command was still running at the deadline (as timeout(1) says it). */
export const codeOfDeadline = 124
/** The guest ended without a word about its command. */
export const codeOfGuest = 125

/** `fs.nr_open` of Linux: the most that a limit of descriptors can be. */
const descriptors = 1_048_576

/** Boots, runs the command, and returns its exit code. Ends by the deadline, if not before. */
export async function runGuest(options: GuestOptions): Promise<number> {
  const parts = supplies(options.kernel)
  const folder = mkdtempSync(join(cache, 'run-'))
  try {
    writeFileSync(join(folder, 'initramfs'), firstRoot(parts, options))
    const { kernelPackage } = parts
    console.error(`guest: ${kernelPackage}, ${options.cpus} cpus, ${options.memoryMib} MiB`)
    return await boot(qemuArguments(parts, folder, options), folder, options.deadlineMs)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function ownFile(name: string): Buffer {
  return readFileSync(join(import.meta.dirname, name))
}

function firstRoot(parts: Supplies, { command, deadlineMs }: GuestOptions): Buffer {
  const where = { directory: process.cwd(), environment: process.env, descriptors }
  const modules = firstModulesOf(parts)
  const archive = packArchive([
    { path: 'bin/busybox', content: readFileSync(parts.busybox) },
    { path: 'init', content: ownFile('init.sh') },
    { path: 'guest/enter.sh', content: ownFile('enter.sh') },
    { path: 'guest/job', content: jobScript(command, where) },
    // Its own, in case that nobody is left to cut the power.
    { path: 'guest/deadline', content: `${deadlineMs / 1000 + 10}` },
    { path: 'guest/modules', content: parts.modules },
    { path: 'modules/order', content: modules.map(({ name }) => `${name}\n`).join('') },
    ...modules.map(({ name, content }) => ({ path: `modules/${name}`, content })),
    { path: 'dev/console', mode: deviceMode, device: [5, 1] },
  ])
  return gzipSync(archive, { level: 1 })
}

/** The machine: emulated, without network, with the host's tree, and two ports for the answer. */
export function qemuArguments(
  parts: Pick<Supplies, 'kernel'>,
  folder: string,
  { cpus, memoryMib }: Pick<GuestOptions, 'cpus' | 'memoryMib'>,
): string[] {
  // tsc=reliable: the emulated counter is the host's clock, and any other one costs an exit a look.
  const boot = 'console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable rdinit=/init'
  const tree = 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap'
  return [
    ['-machine', 'q35', '-accel', 'tcg,thread=multi,tb-size=512', '-cpu', 'max,la57=off'],
    ['-smp', `${cpus}`, '-m', `${memoryMib}`],
    ['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ['-kernel', parts.kernel, '-initrd', join(folder, 'initramfs'), '-append', boot],
    ['-chardev', `file,id=log,path=${join(folder, 'log')}`, '-serial', 'chardev:log'],
    ['-fsdev', tree, '-device', 'virtio-9p-pci,fsdev=host,mount_tag=host'],
    ['-device', 'virtio-serial-pci'],
    ['-chardev', 'stdio,id=output,signal=off'],
    ['-device', 'virtserialport,chardev=output,name=output'],
    ['-chardev', `file,id=exit,path=${join(folder, 'exit')}`],
    ['-device', 'virtserialport,chardev=exit,name=exit'],
  ].flat()
}

async function boot(args: string[], folder: string, deadlineMs: number): Promise<number> {
  // At the end of its own input qemu would take the port of the output for closed: give it none.
  const child = spawn('qemu-system-x86_64', args, { stdio: ['pipe', 'inherit', 'inherit'] })
  const kill = () => child.kill('SIGKILL')
  process.on('SIGINT', kill).on('SIGTERM', kill)
  let isLate = false
  const deadline = setTimeout(() => {
    isLate = true
    kill()
  }, deadlineMs)
  process.once('exit', kill)
  try {
    await once(child, 'exit')
  } finally {
    clearTimeout(deadline)
    process.off('exit', kill).off('SIGINT', kill).off('SIGTERM', kill)
  }
  if (isLate) {
    console.error(`guest: still running after ${deadlineMs / 1000} s, so its power was cut`)
    return codeOfDeadline
  }
  const said = read(join(folder, 'exit')).trim()
  if (/^\d+$/.test(said)) return Number(said)
  console.error(`guest: ended without an answer; its kernel said:\n${read(join(folder, 'log'))}`)
  return codeOfGuest
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    return String(error)
  }
}
