import { expect, test } from 'vitest'
import { GenerationUsers } from './generation-users.ts'

test('a generation retires once its last worker released it or ended', () => {
  const retired: number[] = []
  const users = new GenerationUsers((generation) => retired.push(generation))
  users.replaced(1, [0, 1, 2])
  users.released(0, 1)
  users.replaced(2, [0, 1, 2])
  users.released(1, 1)
  users.released(1, 2)
  expect(retired).toEqual([])
  users.ended(2)
  expect(retired).toEqual([1])
  users.released(0, 2)
  users.released(0, 2)
  users.ended(0)
  expect(retired).toEqual([1, 2])
})

test('without a worker it retires at once', () => {
  const retired: number[] = []
  new GenerationUsers((generation) => retired.push(generation)).replaced(1, [])
  expect(retired).toEqual([1])
})
