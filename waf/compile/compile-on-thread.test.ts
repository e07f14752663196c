import { expect, test } from 'vitest'
import { SecLangError } from '../seclang/faults.ts'
import { compileOnThread } from './compile-on-thread.ts'

test('the faults of the rules come back from the thread', async () => {
  const options = { baseFile: '/nowhere/base.conf', crsDirectory: null, paranoia: null }
  const compiling = compileOnThread({ ...options, setupFiles: ['/nowhere/setup.conf'] })
  await expect(compiling).rejects.toThrow(SecLangError)
  await expect(compiling).rejects.toMatchObject({
    faults: [{ file: '/nowhere/base.conf' }, { file: '/nowhere/setup.conf' }],
  })
})
