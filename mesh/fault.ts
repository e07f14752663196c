/** What stops a command of the mesh: where it is, what is wrong, how to mend it. */
export class MeshFault extends Error {
  override readonly name = 'MeshFault'
  /** A flag, a file, a node. */
  readonly where: string
  readonly mend: string
  /** For programs; the same word on the wire. */
  readonly code: string

  constructor(
    code: string,
    { where, message, mend }: { where: string; message: string; mend: string },
  ) {
    super(message)
    this.code = code
    this.where = where
    this.mend = mend
  }
}
