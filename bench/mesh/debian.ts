/** Debian's wg and iperf3, unpacked below `.cache` and installed nowhere. Needs apt-get. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { downloadPackage, unpackPackage } from '../../test/harness/debian.ts'
import { root } from '../../test/harness/edge.ts'

/** The folder of what is below `.cache` for benches of the mesh. */
export const benchFolder = join(root, '.cache/bench-mesh')

/** Where `wg` is, and the words that start `iperf3`. */
export function debianPrograms(): { readonly wg: string; readonly iperf: readonly string[] } {
  const binaries = join(benchFolder, 'usr/bin')
  if (!existsSync(join(binaries, 'iperf3'))) {
    for (const name of ['wireguard-tools', 'libsctp1', 'libiperf0', 'iperf3']) {
      const parts = mkdtempSync(join(tmpdir(), 'package-'))
      unpackPackage(downloadPackage(name, parts), benchFolder)
      rmSync(parts, { recursive: true })
    }
  }
  const library = join(benchFolder, 'usr/lib/x86_64-linux-gnu')
  const iperf = ['env', `LD_LIBRARY_PATH=${library}`, join(binaries, 'iperf3')]
  return { wg: join(binaries, 'wg'), iperf }
}
