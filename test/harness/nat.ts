/** A NAT on one machine of a test, and another machine behind it. Needs `nft`. */
import { execFileSync, spawnSync } from 'node:child_process'
import { type Machines, missingForMachines } from './namespaces.ts'

/** `random`: another port outside for each flow. `kept`: the port inside, where it is free. */
export type NatPorts = 'random' | 'kept'

/** A machine that hides another one. */
export interface Nat {
  /** From now on flows that begin have their ports so. */
  keep(ports: NatPorts): void
  /** Gives it another address outside; what was known of flows goes with the old one. */
  move(address: string): void
}

/** What is missing for it here; empty: nothing. */
export function missingForNat(): string {
  const hasNft = spawnSync('nft', ['--version']).status === 0
  return [missingForMachines(), ...(hasNft ? [] : ['nft'])]
    .filter((one) => one !== '')
    .join(' and ')
}

/** Takes `inside` off the switch and puts it behind `outside`, which stays on it. */
export function hide(machines: Machines, outside: number, inside: number): Nat {
  const network = `192.168.${inside}`
  let address = `10.77.0.${outside}`
  machines.ip(inside, 'link', 'delete', 'eth0')
  const peer = ['peer', 'name', 'eth0', 'netns', machines.names[inside - 1] ?? '']
  machines.ip(outside, 'link', 'add', 'inside', 'type', 'veth', ...peer)
  for (const [machine, device, last] of [
    [outside, 'inside', 1],
    [inside, 'eth0', 2],
  ] as const) {
    machines.ip(machine, 'address', 'add', `${network}.${last}/24`, 'dev', device)
    machines.ip(machine, 'link', 'set', device, 'up')
  }
  machines.ip(inside, 'route', 'add', 'default', 'via', `${network}.1`)
  on(machines, outside, ['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward'])
  const nat: Nat = {
    keep: (ports) => rules(machines, outside, natRules(ports)),
    move(next) {
      machines.ip(outside, 'address', 'delete', `${address}/24`, 'dev', 'eth0')
      machines.ip(outside, 'address', 'add', `${next}/24`, 'dev', 'eth0')
      address = next
    },
  }
  nat.keep('random')
  return nat
}

/** From now on nothing passes between `machine`, or who hides behind it, and these addresses; none:
 * everything does again. */
export function cut(machines: Machines, machine: number, addresses: readonly string[]): void {
  const set = `{ ${addresses.join(', ')} }`
  const lines = addresses.length === 0 ? ['', ''] : [`ip saddr ${set} drop`, `ip daddr ${set} drop`]
  rules(
    machines,
    machine,
    `table inet cut
    delete table inet cut
    table inet cut {
      chain incoming { type filter hook prerouting priority 0; ${lines[0]}; }
      chain outgoing { type filter hook postrouting priority 0; ${lines[1]}; }
    }`,
  )
}

/** Whether UDP comes out of what hides behind `machine`. */
export function closeUdp(machines: Machines, machine: number, isClosed: boolean): void {
  const line = isClosed ? 'meta l4proto udp drop;' : ''
  const chain = `chain passing { type filter hook forward priority -1; ${line} };`
  const table = 'table inet datagrams'
  rules(machines, machine, `${table}\n delete ${table}\n ${table} { ${chain} }`)
}

/** What a firewall lets out beside TCP that is not to port 443: everything, QUIC and TLS on their
 * port, TLS alone, or nothing. */
export type Firewall = 'open' | 'quic' | 'tls' | 'shut'

/** The one in front of what hides behind `machine`. */
export function fence(machines: Machines, machine: number, firewall: Firewall): void {
  const noTls = 'tcp dport 443 drop; tcp sport 443 drop;'
  const tls = 'meta l4proto udp drop;'
  const quic = `udp dport 443 accept; udp sport 443 accept; ${tls} ${noTls}`
  const lines = { open: '', quic, tls, shut: `${tls} ${noTls}` }
  const chain = `chain passing { type filter hook forward priority -1; ${lines[firewall]} };`
  const table = 'table inet fence'
  rules(machines, machine, `${table}\n delete ${table}\n ${table} { ${chain} }`)
}

/** As routers at home have them: what nobody inside asked for does not come in. */
function natRules(ports: NatPorts): string {
  return `table inet hiding
    delete table inet hiding
    table inet hiding {
      chain leaving {
        type nat hook postrouting priority 100;
        oifname "eth0" masquerade ${ports === 'random' ? 'fully-random' : ''};
      }
      chain incoming {
        type filter hook input priority 0;
        iifname "eth0" ct state new drop;
      }
      chain passing {
        type filter hook forward priority 0;
        iifname "eth0" ct state new drop;
        tcp flags syn tcp option maxseg size set rt mtu;
      }
    }`
}

function rules(machines: Machines, machine: number, input: string): void {
  on(machines, machine, ['nft', '-f', '-'], input)
}

function on(machines: Machines, machine: number, command: readonly string[], input = ''): void {
  const name = machines.names[machine - 1] ?? ''
  execFileSync('ip', ['netns', 'exec', name, ...command], { input, stdio: 'pipe' })
}
