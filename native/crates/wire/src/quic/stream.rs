//! One request stream: what the connection's events and its two ends, body and sink, tell each
//! other.

use super::connection::Connection;
use super::response::Field;
use crate::signal::Signal;
use edge_http_policy::Refusal;
use quiche::h3::Priority;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What the connection's events and the two ends of a stream tell each other.
pub(super) struct Stream {
    pub id: u64,
    /// The response was sent whole.
    pub answered: Cell<bool>,
    /// `content-length: 0` although the stream went on.
    pub refuses_content: Cell<bool>,
    pub priority: Cell<Priority>,
    pub readable: Signal,
    pub writable: Signal,
    finished: Cell<bool>,
    lost: Cell<bool>,
    ends: Cell<u8>,
    pub trailers: RefCell<Vec<Field>>,
    /// Why the client's side was broken off, when it was its own fault.
    pub refusal: Cell<Option<Refusal>>,
}

impl Stream {
    /// A stream with its body and its sink.
    pub fn new(id: u64) -> Stream {
        Stream {
            id,
            answered: Cell::new(false),
            refuses_content: Cell::new(false),
            priority: Cell::new(Priority::default()),
            readable: Signal::default(),
            writable: Signal::default(),
            finished: Cell::new(false),
            lost: Cell::new(false),
            ends: Cell::new(2),
            trailers: RefCell::default(),
            refusal: Cell::new(None),
        }
    }

    /// The request's trailers came.
    pub fn put_trailers(&self, trailers: Vec<Field>) {
        self.trailers.replace(trailers);
    }

    /// The rest of the request is malformed.
    pub fn refuse(&self, refusal: Refusal) {
        self.refusal.set(Some(refusal));
    }

    /// The request ended and every byte of it was read.
    pub fn finish(&self) {
        self.finished.set(true);
        self.readable.raise();
    }

    /// The request's end was read.
    pub fn is_finished(&self) -> bool {
        self.finished.get()
    }

    /// Nothing can be sent any more; nothing more will come.
    pub fn lose(&self) {
        self.lost.set(true);
        self.readable.raise();
        self.writable.raise();
    }

    /// See [`Stream::lose`].
    pub fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Content came.
    pub fn wake_reader(&self) {
        self.readable.raise();
    }

    /// The stream may have capacity.
    pub fn wake_writer(&self) {
        self.writable.raise();
    }
}

/// Body or sink: the stream is closed when both are gone.
pub(super) struct End {
    pub connection: Rc<Connection>,
    pub stream: Rc<Stream>,
}

impl Drop for End {
    fn drop(&mut self) {
        let left = self.stream.ends.get().saturating_sub(1);
        self.stream.ends.set(left);
        if left == 0
            && let Some(mut state) = self.connection.try_state()
        {
            state.release(&self.stream);
            drop(state);
            self.connection.touch();
        }
    }
}
