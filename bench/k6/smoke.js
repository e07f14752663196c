// k6 against a running edge (`npm start`): clean requests on h1 and h2 pass, attacks are blocked.
//   k6 run bench/k6/smoke.js            a few seconds, the one that CI runs
//   k6 run -e DURATION=1m -e VUS=50 bench/k6/smoke.js
// HTTPS is HTTP/2 here because k6 prefers it in ALPN; GODEBUG=http2client=0 makes it HTTP/1.1.
import http from 'k6/http'
import { check } from 'k6'

const base = __ENV.EDGE_URL || 'https://localhost:8443'
const protocol = __ENV.PROTOCOL || 'HTTP/2.0'

export const options = {
  insecureSkipTLSVerify: true,
  vus: Number(__ENV.VUS || 4),
  duration: __ENV.DURATION || '5s',
  thresholds: { checks: ['rate==1.0'] },
}

export default function () {
  const page = http.get(`${base}/products?page=2&sort=price_asc`)
  check(page, {
    'page is 200': (answer) => answer.status === 200,
    'protocol as expected': (answer) => answer.proto === protocol,
  })
  const form = http.post(`${base}/echo`, { name: 'Ada', message: 'Two boxes, please.' })
  check(form, { 'form is 200': (answer) => answer.status === 200 })
  const attack = http.get(`${base}/?id=1%27%20OR%20%271%27%3D%271`, {
    responseCallback: http.expectedStatuses(403),
  })
  check(attack, { 'attack is 403': (answer) => answer.status === 403 })
}
