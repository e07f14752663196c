//! Connections with something to send.

use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Waker};

/// Buffers of quiche: sent bodies are passed on without a copy.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers;

impl quiche::BufFactory for Buffers {
    type Buf = Bytes;
    type DgramBuf = Vec<u8>;

    fn buf_from_slice(buf: &[u8]) -> Bytes {
        Bytes::copy_from_slice(buf)
    }

    fn dgram_buf_from_slice(buf: &[u8]) -> Vec<u8> {
        buf.to_vec()
    }
}

/// The transport connection.
pub(super) type Quic = quiche::Connection<Buffers>;

/// Keys of connections with something to send; the endpoint's task waits on it.
#[derive(Default)]
pub(super) struct Queue {
    keys: RefCell<VecDeque<usize>>,
    waker: RefCell<Option<Waker>>,
}

impl Queue {
    /// Takes the next one.
    pub fn pop(&self) -> Option<usize> {
        self.keys.borrow_mut().pop_front()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.keys.borrow().len()
    }

    /// Whether any waits; if none, `context` is woken by the next.
    pub fn poll(&self, context: &Context<'_>) -> bool {
        if self.len() > 0 {
            return true;
        }
        self.waker.replace(Some(context.waker().clone()));
        false
    }

    /// Adds one that is not in it.
    pub fn push(&self, key: usize) {
        self.keys.borrow_mut().push_back(key);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
