import { expect, test, vi } from 'vitest'
import { ServiceManager } from './systemd.ts'

function managerWith(env: Record<string, string>) {
  const sent: string[] = []
  const manager = new ServiceManager(env, (socket, message) => sent.push(`${socket} ${message}`))
  return { manager, sent }
}

test('what the program does is told', () => {
  const { manager, sent } = managerWith({ NOTIFY_SOCKET: '/run/n' })
  manager.ready('generation 1')
  manager.reloading()
  manager.stopping()
  expect(sent[0]).toBe('/run/n READY=1\nSTATUS=generation 1')
  expect(sent[1]).toMatch(/^\/run\/n RELOADING=1\nMONOTONIC_USEC=\d+\n/)
  expect(sent[2]).toBe('/run/n STOPPING=1\nSTATUS=draining')
})

test('the watchdog gets a sign of life in half its time, if it is ours', () => {
  vi.useFakeTimers()
  const env = { NOTIFY_SOCKET: '@n', WATCHDOG_USEC: '2000000' }
  const { manager, sent } = managerWith(env)
  const other = managerWith({ ...env, WATCHDOG_PID: '1' })
  manager.ready('')
  other.manager.ready('')
  vi.advanceTimersByTime(2_000)
  expect(sent.slice(1)).toEqual(['@n WATCHDOG=1', '@n WATCHDOG=1'])
  expect(other.sent).toHaveLength(1)
  manager.close()
  vi.useRealTimers()
})

test('without a manager, or with a deaf one, nothing happens', () => {
  const { manager, sent } = managerWith({})
  manager.ready('')
  expect(sent).toEqual([])
  const deaf = new ServiceManager({ NOTIFY_SOCKET: '/none' }, () => {
    throw new Error('nobody')
  })
  expect(() => deaf.ready('')).not.toThrow()
})
