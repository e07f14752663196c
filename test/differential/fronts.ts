export async function openFronts(rules, crs) { throw new Error('soon') }
