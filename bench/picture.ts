/** Bars as an SVG for light and dark pages: one panel per figure, one group per protocol. */

/** One measured value. */
export interface Bar {
  readonly figure: string
  readonly unit: string
  readonly protocol: string
  readonly contender: string
  readonly value: number
}

const titles: Readonly<Record<string, string>> = {
  small: 'One 1 KiB request, kept-alive',
  bulk: '10 MiB downloads',
  handshake: 'New connection and one request',
}
const protocolNames: Readonly<Record<string, string>> = {
  h1: 'HTTP/1.1',
  h1s: 'HTTP/1.1 TLS',
  h2: 'HTTP/2',
  h3: 'HTTP/3',
}
const colours: Readonly<Record<string, string>> = {
  nginx: '#7a8794',
  caddy: '#b0bac4',
  edge: '#1f7a5c',
  'edge+CRS': '#6cc2a3',
}

const width = 760
const labelWidth = 190
const barHeight = 14
const barsWidth = width - labelWidth - 90

/** The picture of all bars; less is better. */
export function picture(bars: readonly Bar[]): string {
  const lines: string[] = []
  let y = 24
  for (const figure of new Set(bars.map((bar) => bar.figure))) {
    const panel = bars.filter((bar) => bar.figure === figure)
    y = drawPanel(panel, y, lines) + 18
  }
  const style =
    'text{font:12px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:14px}' +
    '@media(prefers-color-scheme:dark){text{fill:#d7dde3}}'
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" ` +
    `height="${y}" role="img" aria-label="Server CPU per request beside nginx and Caddy">\n` +
    `<style>${style}</style>\n${lines.join('\n')}\n</svg>\n`
  )
}

function drawPanel(panel: readonly Bar[], top: number, lines: string[]): number {
  const [first] = panel
  if (first === undefined) return top
  const title = `${titles[first.figure] ?? first.figure}: server CPU, ${first.unit}`
  lines.push(`<text class="t" x="0" y="${top}">${title} (less is better)</text>`)
  const most = Math.max(...panel.map((bar) => bar.value))
  let y = top + 12
  for (const protocol of new Set(panel.map((bar) => bar.protocol))) {
    const group = panel.filter((bar) => bar.protocol === protocol)
    const name = protocolNames[protocol] ?? protocol
    lines.push(`<text x="0" y="${y + barHeight - 3}">${name}</text>`)
    for (const bar of group) {
      const length = Math.max(1, (bar.value / most) * barsWidth).toFixed(1)
      const text = bar.value.toFixed(bar.value < 10 ? 2 : 0)
      const middle = y + barHeight - 3
      lines.push(
        `<text x="${labelWidth - 8}" y="${middle}" text-anchor="end">${bar.contender}</text>`,
        `<rect x="${labelWidth}" y="${y}" width="${length}" height="${barHeight - 2}" rx="2" ` +
          `fill="${colours[bar.contender] ?? '#888'}"/>`,
        `<text x="${labelWidth + Number(length) + 6}" y="${middle}">${text}</text>`,
      )
      y += barHeight
    }
    y += 6
  }
  return y
}
