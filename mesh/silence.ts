/** A stream on which nothing comes any more: its other end may be gone without a word. */

/** What arrives, until nothing does for too long. */
export async function* heard(
  body: AsyncIterable<Buffer> & { destroy(error: Error): unknown },
  silence: { readonly ms: number },
): AsyncGenerator<Buffer> {
  const fall = (): void => void body.destroy(new Error('the coordinator fell silent'))
  let timer = setTimeout(fall, silence.ms)
  try {
    for await (const chunk of body) {
      clearTimeout(timer)
      yield chunk
      timer = setTimeout(fall, silence.ms)
    }
  } finally {
    clearTimeout(timer)
  }
}
