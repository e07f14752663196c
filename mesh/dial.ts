/**
 * How programs beside an agent without an interface dial through it: its Unix socket takes a line,
 * `ADDRESS:PORT`, answers with one byte, and is the connection from then on. The wire does the same
 * in Rust (native/crates/netstack); this is for what Node connects to itself.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { z } from 'zod'
import { readState, writeSecret } from './folder.ts'
import { meshModes, type MeshMode } from './mode.ts'
import { socketPath } from './status.ts'

const modeFile = 'mode.json'
const modeState = z.object({ mode: z.enum(meshModes) })

/** The path of the socket of the agent of a folder. */
export function dialSocket(folder: string): string {
  return socketPath(folder, 'dial.sock')
}

/** Tells programs beside the agent in which mode it runs. It stays true while the agent is away. */
export function writeMode(folder: string, mode: MeshMode): void {
  writeSecret(folder, modeFile, JSON.stringify({ mode }))
}

/** The socket through which the mesh is dialed; null when the system's own do. */
export function dialPathOf(folder: string): string | null {
  const known = readState(folder, modeFile, modeState)
  return known?.mode === 'netstack' ? dialSocket(folder) : null
}

/** The answers beside zero; native/crates/netstack/src/door.rs. */
const refusals: Readonly<Record<number, string>> = {
  1: 'the connection was refused',
  2: 'nobody answered',
  3: 'no route leads there',
  4: 'the agent has too many connections',
  5: 'the agent did not understand',
}

/** Connects to ADDRESS:PORT through the agent whose socket is at `path`. */
export async function dialThrough(
  path: string,
  address: string,
  signal: AbortSignal,
): Promise<Socket> {
  const socket = connect(path)
  try {
    await once(socket, 'connect', { signal })
    socket.write(`${address}\n`)
    await once(socket, 'readable', { signal })
    const answer = socket.read(1) as Buffer | null
    if (answer === null) throw new Error('the agent ended it')
    const [code = 0] = answer
    if (code !== 0) throw new Error(refusals[code] ?? 'the connection failed')
    return socket
  } catch (error) {
    socket.destroy()
    throw signal.aborted ? signal.reason : error
  }
}
