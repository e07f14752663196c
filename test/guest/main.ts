/**
 * `npm run e2e:guest -- [--memory MIB] [--cpus N] [--deadline SECONDS] [--kernel PACKAGE] --
 * COMMAND ARG…`: runs a command in a Linux of its own, as root, and ends as it ended. For what the
 * machine's own kernel forbids (more descriptors than its hard limit) or lacks (WireGuard).
 *
 * The guest is a Debian kernel in qemu, emulated (no KVM is asked for), so it runs wherever Node
 * does, ten to thirty times slower: what is true there is behaviour and memory, never time. It sees
 * the host's whole tree under the same paths, so Node, the addon and every program are there. The
 * tree is read-only; what the guest writes stays in its memory and ends with it. Of the environment
 * go PATH, HOME, LANG, LC_… and EDGE_… along. There is no network but its own loopback, no input,
 * and /run is empty. Output and errors of the command come as one stream on stdout; what the
 * harness itself says goes to stderr.
 *
 * Exit codes: the command's own; 124 when the deadline (default: an hour) came first; 125 when the
 * guest could not be made or ended without an answer, with the reason or its kernel's log.
 *
 * Needs x86-64 and a Debian of its own. Packages that are missing are installed (root) or named;
 * kernel and busybox are only unpacked, once, into .cache/guest, where the file `package` beside
 * them records their versions. They stay until that folder is deleted. Other kernels: `--kernel
 * linux-image-6.12-amd64`, or an exact image; all but Debian's cloud images, which have no 9p.
 *
 * Modules load when they are asked for, by the kernel itself or by modprobe, as on any machine. So
 * a test of kernel WireGuard needs no more than this, with the host's iproute2 (network namespaces,
 * veth and netem are there too); keys and peers go over netlink, or by `wg` where it is installed:
 *
 *     npm run e2e:guest -- --memory 1024 -- sh -c 'ip link add wg0 type wireguard && …'
 */
import { codeOfGuest, runGuest } from './guest.ts'
import { parseGuest } from './options.ts'

try {
  process.exitCode = await runGuest(parseGuest(process.argv.slice(2)))
} catch (error) {
  console.error(`guest: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = codeOfGuest
}
