import { expect, test } from 'vitest'
import { Identities } from './identities.ts'

test('a renewed certificate keeps its id, since its names are the same', () => {
  const identities = new Identities()
  expect(identities.certificate(['a.example'])).toBe(0)
  expect(identities.certificate(['a.example', 'b.example'])).toBe(1)
  expect(identities.certificate(['a.example'])).toBe(0)
  expect(identities.certificateNames).toEqual([['a.example'], ['a.example', 'b.example']])
})
