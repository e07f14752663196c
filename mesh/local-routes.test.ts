import { expect, test } from 'vitest'
import { routes4, routes6 } from './local-routes.ts'

test('the tables of the kernel are read as ranges, without the default routes', () => {
  const table = [
    'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
    'eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0',
    'eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0',
    'edge0\t00006064\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0',
  ]
  expect(routes4(table.join('\n'))).toEqual([
    { prefix: '172.17.0.0/16', device: 'eth0' },
    { prefix: '100.96.0.0/16', device: 'edge0' },
  ])
  const zeros = '0'.repeat(32)
  const line = (to: string, length: string, device: string): string =>
    `${to} ${length} ${zeros} 00 ${zeros} 00000100 00000001 00000000 00000001 ${device}`
  const own = `fd120001${'0'.repeat(24)}`
  const table6 = [
    line(zeros, '00', 'eth0'),
    line(`20010db8${'0'.repeat(24)}`, '40', 'eth0'),
    line(`fe80${'0'.repeat(28)}`, '40', 'eth0'),
    line(own, '40', 'edge0'),
  ]
  expect(routes6(table6.join('\n'))).toEqual([
    { prefix: '2001:db8::/64', device: 'eth0' },
    { prefix: 'fd12:1::/64', device: 'edge0' },
  ])
})
