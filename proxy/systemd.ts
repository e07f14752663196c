/** The service manager: sd_notify(3) as systemd speaks it. Silent where nobody asked for it. */
import type { Environment } from './config/environment.ts'

/** Sends one message; throws when it cannot be sent. */
type Send = (socket: string, message: string) => void

/** What the program tells its manager. */
export class ServiceManager {
  readonly #socket: string
  readonly #watchdogMs: number
  readonly #send: Send
  #watchdog: NodeJS.Timeout | null = null

  constructor(env: Environment, send: Send) {
    this.#socket = env['NOTIFY_SOCKET'] ?? ''
    const isMeant = (env['WATCHDOG_PID'] ?? String(process.pid)) === String(process.pid)
    this.#watchdogMs = isMeant ? Number(env['WATCHDOG_USEC'] ?? 0) / 1_000 : 0
    this.#send = send
  }

  /** All is served; also the end of a reload. Begins the watchdog's signs of life. */
  ready(status: string): void {
    this.#tell(`READY=1\nSTATUS=${status}`)
    if (this.#watchdogMs <= 0 || this.#watchdog !== null) return
    // Half the time, as sd_watchdog_enabled(3) advises. A main thread that hangs sends nothing.
    this.#watchdog = setInterval(() => this.#tell('WATCHDOG=1'), this.#watchdogMs / 2)
    this.#watchdog.unref()
  }

  /** `Type=notify-reload` wants the time, to tell this reload from an earlier one. */
  reloading(): void {
    const microseconds = process.hrtime.bigint() / 1_000n
    this.#tell(`RELOADING=1\nMONOTONIC_USEC=${microseconds}\nSTATUS=reloading`)
  }

  stopping(): void {
    this.#tell('STOPPING=1\nSTATUS=draining')
  }

  close(): void {
    if (this.#watchdog !== null) clearInterval(this.#watchdog)
    this.#watchdog = null
  }

  #tell(message: string): void {
    if (this.#socket === '') return
    try {
      this.#send(this.#socket, message)
    } catch {
      // A manager that does not listen is no reason not to serve.
    }
  }
}
