/** Evidence as plain data, for tests. */
import type { MatchEvidence, ValueEvidence, WafEvidence } from './evidence.ts'

/** A value of `ARGS:q` that became lower case. */
export function value(changes: Partial<ValueEvidence> = {}): ValueEvidence {
  const text = "1' OR 1=1"
  return {
    variable: 'ARGS:q',
    collection: 'ARGS',
    name: 'q',
    redacted: false,
    before: { text, offset: 0, length: text.length },
    steps: [
      {
        transformation: 'lowercase',
        after: { text: text.toLowerCase(), offset: 0, length: text.length },
      },
    ],
    span: { start: 3, length: 2 },
    captures: ['or'],
    ...changes,
  }
}

const none = [0, 0, 0, 0]

/** A rule that added five points at paranoia level 1. */
export function match(changes: Partial<MatchEvidence> = {}): MatchEvidence {
  return {
    ruleId: 942_100,
    file: 'rules/sqli.conf',
    line: 7,
    phase: 2,
    message: 'SQL Injection',
    data: '',
    severity: 2,
    paranoiaLevel: 1,
    tags: ['attack-sqli', 'paranoia-level/1'],
    version: 'OWASP_CRS/4.28.0',
    disruptive: 'pass',
    interruption: null,
    links: [
      {
        line: 7,
        targets: ['REQUEST_COOKIES', 'ARGS'],
        operator: 'DetectSQLi',
        negated: false,
        argument: '',
        transformations: ['lowercase'],
        values: [value()],
        valuesLeftOut: 0,
      },
    ],
    changes: [{ name: 'tx.inbound_anomaly_score_pl1', before: '0', after: '5' }],
    score: {
      before: { inbound: none, outbound: none },
      after: { inbound: [5, 0, 0, 0], outbound: none },
    },
    ...changes,
  }
}

/** The rule that compares the score with the threshold. */
export const blocking: MatchEvidence = match({
  ruleId: 949_110,
  file: 'rules/blocking.conf',
  message: 'Inbound Anomaly Score Exceeded',
  tags: ['anomaly-evaluation'],
  paranoiaLevel: null,
  disruptive: 'deny',
  interruption: 'deny',
  links: [
    {
      line: 1,
      targets: ['TX:BLOCKING_INBOUND_ANOMALY_SCORE'],
      operator: 'Ge',
      negated: false,
      argument: '5',
      transformations: [],
      values: [
        value({
          variable: 'TX:BLOCKING_INBOUND_ANOMALY_SCORE',
          collection: 'TX',
          name: 'BLOCKING_INBOUND_ANOMALY_SCORE',
          before: { text: '5', offset: 0, length: 1 },
          steps: [],
          span: null,
          captures: [],
        }),
      ],
      valuesLeftOut: 0,
    },
  ],
  changes: [],
})

/** What the WAF tells of a request that these rules matched. */
export function evidence(matches: readonly MatchEvidence[] = [match(), blocking]): WafEvidence {
  return {
    engine: 'on',
    paranoia: { blocking: 1, detection: 1 },
    threshold: { inbound: 5, outbound: 4 },
    method: 'GET',
    filename: '/search',
    matches,
    matchesLeftOut: 0,
    complete: true,
  }
}
