import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['{proxy,waf,kubernetes,mesh,test}/**/*.test.ts'],
    // An empty run must fail: a wrong glob would look green (STYLE §1, node-rs).
    passWithNoTests: false,
    // The addon and its threads do not survive the end of a worker thread that loaded it first.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
  },
})
