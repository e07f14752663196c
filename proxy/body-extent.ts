/** How much of a response's body the wire holds for inspection. */

/** Index as in the record. */
export const bodyExtents = [
  /** Not read, or not yet. */
  'unread',
  'whole',
  /** There is more than the plan asked for. */
  'beginning',
  /** Not read: it says itself that it is longer than what is let through. */
  'too-long',
] as const

export type BodyExtent = (typeof bodyExtents)[number]
