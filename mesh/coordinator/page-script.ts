/** What the live page runs: it asks for the picture and draws it; names come in as text only. */
export const pageScript = `
'use strict'
const svgSpace = 'http://www.w3.org/2000/svg'
const byId = (id) => document.getElementById(id)
const shape = (name, facts, title) => {
  const made = document.createElementNS(svgSpace, name)
  for (const [key, value] of Object.entries(facts)) made.setAttribute(key, value)
  if (title) made.append(Object.assign(document.createElementNS(svgSpace, 'title'),
    { textContent: title }))
  return made
}
const row = (texts) => {
  const made = document.createElement('tr')
  for (const text of texts) {
    made.append(Object.assign(document.createElement('td'), { textContent: text }))
  }
  return made
}
const ago = (ms) => {
  if (ms === null) return 'never'
  const s = Math.round(ms / 1000)
  return s < 120 ? s + ' s ago' : s < 7200 ? Math.round(s / 60) + ' min ago'
    : Math.round(s / 3600) + ' h ago'
}
const size = (bytes) => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let at = 0
  for (; bytes >= 1024 && at < units.length - 1; at += 1) bytes /= 1024
  return (at === 0 ? bytes : bytes.toFixed(1)) + ' ' + units[at]
}
// Leaves stand on the outer ring, the nodes that they hang on inside of it; those of one location
// side by side.
const placesOf = (nodes) => {
  const sorted = nodes.toSorted((a, b) => (a.location ?? '').localeCompare(b.location ?? ''))
  const rings = [sorted.filter((n) => !n.isLeaf), sorted.filter((n) => n.isLeaf)]
  const isTwo = rings[0].length > 0 && rings[1].length > 0
  return new Map(rings.flatMap((ring, at) => ring.map((node, index) => {
    const turn = (2 * Math.PI * index) / ring.length - Math.PI / 2
    const far = ring.length === 1 && at === 0 ? 0 : isTwo && at === 0 ? 22 : 42
    return [node, { x: far * Math.cos(turn), y: far * Math.sin(turn) }]
  })))
}
const place = ({ location, isLeader }) =>
  location === null ? '' : location + (isLeader ? ', leads' : '')
const draw = ({ version, nodes, links, more }) => {
  const places = placesOf(nodes)
  const at = (index) => places.get(nodes[index])
  const lines = links.map((link) => {
    const [from, to] = [at(link.from), at(link.to)]
    const title = nodes[link.from].name + ' - ' + nodes[link.to].name + ': ' + link.path +
      ', handshake ' + ago(link.handshakeMs) + ', ' + size(link.bytes)
    return shape('line', { x1: from.x, y1: from.y, x2: to.x, y2: to.y, class: link.path }, title)
  })
  const dots = nodes.flatMap((node) => {
    const { x, y } = places.get(node)
    const title = node.name + ' ' + node.addresses.join(' ') + (place(node) && ', ' + place(node))
    const dot = shape('circle', { cx: x, cy: y, r: node.isLeaf ? 1.4 : node.isLeader ? 2.6 : 2.2,
      class: (node.isConnected ? '' : 'away ') + (node.isLeader ? 'leader' : '') }, title)
    if (nodes.length > 60) return [dot]
    const isBelow = y >= 0
    const label = shape('text', { x, y: y + (isBelow ? 6.6 : -4.2), 'text-anchor': 'middle' })
    label.textContent = node.name
    return [dot, label]
  })
  byId('picture').replaceChildren(...lines, ...dots)
  byId('links').replaceChildren(...links.map((link) => row([
    nodes[link.from].name + ' – ' + nodes[link.to].name, link.path, ago(link.handshakeMs),
    size(link.bytes)])))
  byId('nodes').replaceChildren(...nodes.map((node) => row([node.name, node.addresses.join('  '),
    place(node), node.isConnected ? 'yes' : 'no', ago(node.reportedMs)])))
  const connected = nodes.filter((node) => node.isConnected).length
  byId('facts').textContent = (nodes.length + more) + ' nodes, ' + connected + ' connected' +
    (more ? ' of the ' + nodes.length + ' shown' : '') + ', version ' + version
}
const look = async () => {
  try {
    const answer = await fetch(new URL('/v1/mesh', location.origin), { cache: 'no-store' })
    if (!answer.ok) throw new Error(String(answer.status))
    draw(await answer.json())
  } catch (error) {
    byId('facts').textContent = 'no answer (' + error.message + '); this is an old picture'
  }
  setTimeout(look, 5000)
}
look()
`
