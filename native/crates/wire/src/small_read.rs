//! Reads of what is mostly a head, and a short body with it. By way of the stack, so that they take
//! as much memory as they brought: an exchange holds them to its end, and a buffer of a page each
//! goes past what the allocator keeps at hand as soon as some exchanges run at once.

use bytes::BytesMut;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// The most that is read so at once: who gets as much may expect more, and reads in place.
pub const SMALL_READ: usize = 4 * 1024;

/// Reads once into the end of `input`; 0 at the end of the stream.
pub fn poll<S: AsyncRead + Unpin>(
    stream: &mut S,
    input: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut space = [const { MaybeUninit::uninit() }; SMALL_READ];
    let mut read = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(context, &mut read))?;
    input.extend_from_slice(read.filled());
    Poll::Ready(Ok(read.filled().len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[test]
    fn pieces_come_in_order_in_as_much_memory_as_they_need() -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let sent: Vec<u8> = (0..5_000_u32).map(|at| at.to_le_bytes()[0]).collect();
            let mut stream = &sent[..];
            let mut input = BytesMut::new();
            let mut read = async || poll_fn(|context| poll(&mut stream, &mut input, context)).await;
            assert_eq!(
                [read().await?, read().await?, read().await?],
                [4_096, 904, 0]
            );
            assert!(input == sent[..]);
            let (mut head, mut input) = (&[b'h'; 300][..], BytesMut::new());
            poll_fn(|context| poll(&mut head, &mut input, context)).await?;
            assert!(input.len() == 300 && input.capacity() < 512);
            Ok(())
        })
    }
}
