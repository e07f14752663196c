/** Arrays that are kept by the thousand. */

/** The same without the room for 16 more that `filter`, `flatMap` and `[...one, ...other]` leave in
 * what they make: 120 bytes. */
export function exact<T>(all: readonly T[]): readonly T[] {
  return all.slice()
}
