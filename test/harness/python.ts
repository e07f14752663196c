/** Python packages of tests, in a virtual environment under .cache. */
import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './edge.ts'

/** The interpreter that has the package, `name==version`; installs it once. */
export function pythonWith(requirement: string): string {
  const directory = join(root, '.cache/venv')
  const python = join(directory, 'bin/python')
  const stamp = join(directory, requirement)
  if (existsSync(stamp)) return python
  execFileSync('python3', ['-m', 'venv', directory], { stdio: 'inherit' })
  execFileSync(python, ['-m', 'pip', 'install', '--quiet', requirement], { stdio: 'inherit' })
  writeFileSync(stamp, '')
  return python
}
