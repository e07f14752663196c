//! What both ends of a connection do alike: frames come one at a time, and go many in one write.

use super::frame::{self, BadFrame, Frame};
use bytes::BytesMut;
use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;

const READ_BYTES: usize = 64 * 1024;

impl From<BadFrame> for Error {
    fn from(_: BadFrame) -> Error {
        Error::new(ErrorKind::InvalidData, "not the protocol of a WAF service")
    }
}

/// The next whole frame; what came after it stays in `buffer`.
pub async fn next_frame(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> Result<Frame> {
    loop {
        if let Some(frame) = frame::next(buffer, bytes_max)? {
            return Ok(frame);
        }
        buffer.reserve(READ_BYTES.min(bytes_max));
        if reader.read_buf(buffer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Frames that wait to be written.
#[derive(Default)]
pub struct Unsent {
    bytes: RefCell<BytesMut>,
    filled: Notify,
}

impl Unsent {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.borrow().len()
    }

    /// Queues a frame. False: it would be longer than `bytes_max`.
    pub fn put(
        &self,
        (kind, id): (u8, u32),
        bytes_max: usize,
        content: impl FnOnce(&mut BytesMut),
    ) -> bool {
        let mut bytes = self.bytes.borrow_mut();
        let before = bytes.len();
        frame::put(&mut bytes, kind, id, content);
        if bytes.len() - before > bytes_max {
            bytes.truncate(before);
            return false;
        }
        if before == 0 {
            self.filled.notify_one();
        }
        true
    }

    /// All that waits, as soon as there is any.
    pub async fn batch(&self) -> BytesMut {
        loop {
            let batch = std::mem::take(&mut *self.bytes.borrow_mut());
            if !batch.is_empty() {
                return batch;
            }
            self.filled.notified().await;
        }
    }
}
