/** Why a tunnel cannot be, as its client is told. */
export class GatewayFault extends Error {
  override readonly name = 'GatewayFault'
  readonly code: string
  readonly status: number

  constructor(code: string, status: number, message: string) {
    super(message)
    this.code = code
    this.status = status
  }
}
