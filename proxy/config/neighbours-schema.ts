/** `quic.neighbours`: programs on one node that pass QUIC packets on to each other. */
import { isIP } from 'node:net'
import { z } from 'zod'
import { address, mends, serviceEndpoint } from './fields.ts'

export const neighbours = z.strictObject({
  listen: address()
    .nullable()
    .prefault(null)
    .describe('UDP: where other edges of this node hand over packets of connections; null: off'),
  address: ipAddress()
    .nullable()
    .prefault(null)
    .describe('How they reach that port (the address of the pod); null: the address in listen'),
  meet: serviceEndpoint()
    .nullable()
    .prefault(null)
    .describe('HOST:PORT that leads to one of them, as a Service of this node does; null: nowhere'),
})

/** An address without a port. */
function ipAddress() {
  return z
    .string()
    .refine((value) => isIP(value) !== 0, {
      error: ({ input }) => `"${String(input)}" is no IP address`,
    })
    .register(mends, { mend: 'write an IP address without a port, for example 10.0.0.5' })
}
