// A steady load of clean pages at a given rate: latency percentiles with the WAF on.
//   k6 run -e RATE=500 -e DURATION=30s bench/k6/load.js
import http from 'k6/http'
import { check } from 'k6'

const base = __ENV.EDGE_URL || 'https://localhost:8443'

export const options = {
  insecureSkipTLSVerify: true,
  scenarios: {
    pages: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 200),
      timeUnit: '1s',
      duration: __ENV.DURATION || '20s',
      preAllocatedVUs: 50,
    },
  },
  thresholds: { http_req_failed: ['rate==0'], dropped_iterations: ['count==0'] },
}

export default function () {
  const answer = http.get(`${base}/shop/coffee?page=2&sort=price_asc&currency=EUR`)
  check(answer, { 'page is 200': (page) => page.status === 200 })
}
