/** How the program ends; scripts and supervisors rely on it. */
export const exitCodes = {
  fine: 0,
  failure: 1,
  usage: 2,
  foundProblems: 3,
  configInvalid: 78,
} as const
