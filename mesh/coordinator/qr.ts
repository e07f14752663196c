/** A configuration as a picture that the apps of WireGuard read from a terminal. */
import { renderUnicodeCompact } from 'uqr'
import { MeshFault } from '../fault.ts'

/** What a QR code of the largest size holds (ISO/IEC 18004, version 40-L). */
const bytesMax = 2_953

export function qrText(text: string): string {
  if (Buffer.byteLength(text) > bytesMax) {
    throw new MeshFault('QR_TOO_LARGE', {
      where: '--format',
      message: `the configuration has more than the ${bytesMax} bytes of a QR code`,
      mend: 'its peers are too many: take --format wg-quick, as another device',
    })
  }
  // Blocks are light, whatever the terminal's colours are: apps read no inverted pictures.
  const picture = renderUnicodeCompact(text, { ecc: 'L', border: 2 })
  return picture.replace(/^.*$/gm, (line) => `\u001B[97;40m${line}\u001B[0m`)
}
