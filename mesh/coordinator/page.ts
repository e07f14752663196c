/** The live page: one file, nothing from elsewhere, and a policy that lets nothing else in. */
import { createHash } from 'node:crypto'
import { pageScript } from './page-script.ts'

const style = `
:root { color-scheme: light dark; --ink: #1c2330; --dim: #667085; --paper: #f7f8fa;
  --card: #fff; --line: #d8dde6; --direct: #14804a; --relay: #b54708; --none: #98a2b3;
  --node: #2563c9 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf2; --dim: #98a2b3; --paper: #12161d;
  --card: #1b212b; --line: #303846; --direct: #3ccb7f; --relay: #fdb022; --none: #667085;
  --node: #6ea8fe } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif }
main { max-width: 1100px; margin: 0 auto; padding: 16px; display: grid; gap: 16px }
h1 { font-size: 20px; margin: 0 }
header { display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: baseline }
#facts, .legend { color: var(--dim) }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px; overflow-x: auto }
svg { display: block; width: 100%; max-height: 70vh }
svg text { fill: var(--ink); font: 3.4px system-ui, sans-serif; paint-order: stroke;
  stroke: var(--card); stroke-width: 1px }
@media (max-width: 600px) { table { font-size: 13px } td, th { padding-right: 7px !important } }
line { stroke-width: .7 } line.direct { stroke: var(--direct) }
line.relay { stroke: var(--relay); stroke-dasharray: 2 1.4 }
line.none { stroke: var(--none); stroke-dasharray: .5 1.5 }
circle { fill: var(--node); stroke: var(--card); stroke-width: .6 }
circle.away { fill: var(--none) } circle.leader { stroke: var(--ink); stroke-width: .7 }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px }
.legend i { display: inline-block; width: 18px; border-top: 3px solid; margin-right: 6px;
  vertical-align: middle }
.legend .dot { display: inline-block; width: 14px; height: 14px; margin-right: 4px;
  vertical-align: middle }
.legend .direct { color: var(--direct) }
.legend .relay { color: var(--relay); border-style: dashed }
.legend .none { color: var(--none); border-style: dotted }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line);
  white-space: nowrap }
th { color: var(--dim); font-weight: 500 } td.number { text-align: right }
`

const body = `<main>
<header><h1>Mesh</h1><span id="facts" role="status">asking …</span></header>
<section><svg id="picture" viewBox="-62 -56 124 112" role="img" aria-label="The mesh"></svg>
<div class="legend"><span><i class="direct"></i>direct</span>
<span><i class="relay"></i>relayed</span>
<span><i class="none"></i>no session</span>
<span><svg class="dot" viewBox="-4 -4 8 8" aria-hidden="true"><circle class="leader" r="2.6"/></svg>
leader of a location</span></div></section>
<section><table><thead><tr><th>Link</th><th>Path</th><th>Handshake</th><th>Bytes</th></tr></thead>
<tbody id="links"></tbody></table></section>
<section><table><thead><tr><th>Node</th><th>Addresses</th><th>Location</th>
<th>Connected</th><th>Reported</th></tr></thead><tbody id="nodes"></tbody></table></section>
</main>`

/** The whole document. */
export const pageText = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Mesh</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>${style}</style></head><body>${body}<script>${pageScript}</script></body></html>
`

const hash = (text: string): string =>
  `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** What a browser may do with it: run this script, use this style, ask its own origin. */
export const pageHeaders = {
  'content-security-policy': [
    "default-src 'none'",
    `script-src ${hash(pageScript)}`,
    `style-src ${hash(style)}`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const
