/** Mutated inputs: a corpus case, changed in a few places. The same number gives the same input. */
import { allCases } from './all-cases.ts'

/** Pieces that matter to a parser of HTTP/1.1. */
const words = [
  '\r\n',
  '\n',
  '\r',
  '\r\n\r\n',
  ' ',
  '\t',
  ':',
  '\0',
  '\x0b',
  '\xff',
  ';',
  ',',
  '0',
  '%2e',
  '%',
  '0\r\n\r\n',
  'chunked',
  'Content-Length: 1\r\n',
  'Transfer-Encoding: chunked\r\n',
  '/../',
  'Connection: upgrade\r\n',
  'Upgrade: websocket\r\n',
  'Expect: 100-continue\r\n',
  'HTTP/1.1',
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'http://b',
  'ffffffffffffffff',
  'Host: b\r\n',
  'HTTP/1.0',
  'Connection: close\r\n',
  'POST',
  'HEAD',
  'OPTIONS *',
]

/** Long ones prove no more and cost time. */
const seeds = allCases.map(({ bytes }) => bytes).filter((bytes) => bytes.length < 2000)

/** A small generator of numbers (mulberry32), fast and the same everywhere. */
function generator(seed: number): (end: number) => number {
  let state = seed >>> 0
  return (end) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % Math.max(1, end)
  }
}

/** Input number `index` of the run with this seed; latin1. */
export function mutation(seed: number, index: number): string {
  const below = generator(Math.imul(seed, 0x9e3779b1) ^ Math.imul(index, 0x85ebca6b))
  const pick = (texts: readonly string[]) => texts[below(texts.length)] ?? ''
  let text = pick(seeds)
  for (let changes = 1 + below(4); changes > 0; changes -= 1) {
    const at = below(text.length + 1)
    const [before, after] = [text.slice(0, at), text.slice(at)]
    const length = below(16)
    switch (below(6)) {
      case 0:
        text = before + String.fromCharCode(below(256)) + after.slice(1)
        break
      case 1:
        text = before + after.slice(length)
        break
      case 2:
        text = before + after.slice(0, length) + after
        break
      case 3: {
        const other = pick(seeds)
        text = before + other.slice(below(other.length + 1))
        break
      }
      default:
        text = before + pick(words) + after
    }
  }
  return text.slice(0, 4000)
}
