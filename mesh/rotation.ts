/** Changes a node's WireGuard key, every so often or when it is asked to, and loses nothing. */
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { reasonOf } from '../waf/reason-of.ts'
import { writeSecret } from './folder.ts'
import type { DeviceKeys, KeyRing } from './key-ring.ts'
import { meshLimits } from './limits.ts'
import type { Log } from './log.ts'
import { pause } from './retry.ts'

/** `edge mesh rotate` leaves it in the folder of state. */
const askedFile = 'rotate'

/** Asks the agent of a folder, now or when it starts. */
export function askRotation(folder: string): void {
  writeSecret(folder, askedFile, '')
}

/** What a rotation does to the world around it. */
export interface RotationParts {
  readonly folder: string
  readonly keys: KeyRing
  readonly log: Log
  /** Tells the coordinator; whether every node that is connected said that it knows. */
  readonly announce: () => Promise<boolean>
  readonly apply: (keys: DeviceKeys) => Promise<void>
  /** Whether packets still take a session of the key before. */
  readonly isPreviousUsed: () => Promise<boolean>
}

export class Rotation {
  readonly #parts: RotationParts
  /** Everybody connected knows of the next key. */
  #isKnown = false
  #isAnnounced = false

  constructor(parts: RotationParts) {
    this.#parts = parts
  }

  /** Until the signal. What fails is tried again: the coordinator may be away. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.step(Date.now()).catch((error: unknown) => {
        this.#parts.log.warn({ reason: reasonOf(error) }, 'the change of the key has to wait')
      })
      await pause(meshLimits.rotationLookMs, signal)
    }
  }

  /** One look, and at most one step. */
  async step(nowMs: number): Promise<void> {
    const { keys, log } = this.#parts
    const sinceMs = nowMs - keys.sinceMs
    switch (keys.stage) {
      case 'settled':
        if (sinceMs < meshLimits.rotationIntervalMs && !this.#takeAsked()) return
        keys.begin(nowMs)
        log.info({ key: keys.announced.key }, 'the next key is announced')
        return this.#announce()
      case 'announced':
        if (!this.#isAnnounced) return this.#announce()
        if (!this.#isKnown) {
          if (sinceMs < meshLimits.rotationSwitchMs) return
          // Whoever could be told was told by now, unless the coordinator went away meanwhile.
          await this.#announce()
        }
        keys.switch(nowMs)
        await this.#parts.apply(keys.device)
        log.info({ key: keys.announced.key }, 'the next key is in use')
        return
      case 'switched':
        if (sinceMs < meshLimits.rotationDropMs || (await this.#parts.isPreviousUsed())) return
        keys.drop(nowMs)
        await this.#parts.apply(keys.device)
        log.info({}, 'the key before is gone')
        await this.#announce()
        this.#isAnnounced = false
    }
  }

  async #announce(): Promise<void> {
    this.#isAnnounced = false
    this.#isKnown = await this.#parts.announce()
    this.#isAnnounced = true
  }

  #takeAsked(): boolean {
    const file = join(this.#parts.folder, askedFile)
    if (!existsSync(file)) return false
    rmSync(file, { force: true })
    return true
  }
}
