//! What the driver of an HTTP/2 connection and the two ends of its streams share. All of them live
//! on one thread; a borrow never outlasts a call.

use crate::seam::Field;
use crate::signal::Signal;
use bytes::{Bytes, BytesMut};
use edge_h2::Connection;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Instant;

/// Shorter pieces are put together: each would keep the whole read buffer it came in.
const PIECE_BYTES_MIN: usize = 4 * 1024;
const JOINED_BYTES_MAX: usize = 16 * 1024;

/// What came for a stream and was not read yet; flow control bounds it.
#[derive(Default)]
struct Inbox {
    pieces: VecDeque<Bytes>,
    /// Short pieces behind `pieces`.
    joined: BytesMut,
    ended: bool,
    trailers: Vec<Field>,
}

/// What a reader finds.
pub enum Read {
    Piece(Bytes),
    End,
    Pending,
}

/// One stream as its exchange sees it.
pub struct Stream {
    pub id: u32,
    inbox: RefCell<Inbox>,
    readable: Signal,
    writable: Signal,
    lost: Cell<bool>,
    /// What the client did wrong, when that is why it is lost.
    fault: Cell<Option<&'static str>>,
    /// The trailers were over their limits.
    trailers_too_large: Cell<bool>,
    /// The head of the response was sent.
    answering: Cell<bool>,
}

impl Stream {
    pub fn new(id: u32, ended: bool) -> Stream {
        let inbox = Inbox {
            ended,
            ..Inbox::default()
        };
        Stream {
            id,
            inbox: RefCell::new(inbox),
            readable: Signal::default(),
            writable: Signal::default(),
            lost: Cell::new(false),
            fault: Cell::new(None),
            trailers_too_large: Cell::new(false),
            answering: Cell::new(false),
        }
    }

    /// A piece of the body came.
    pub fn push(&self, piece: Bytes, ended: bool) {
        let mut inbox = self.inbox.borrow_mut();
        if piece.len() >= PIECE_BYTES_MIN {
            if !inbox.joined.is_empty() {
                let joined = inbox.joined.split().freeze();
                inbox.pieces.push_back(joined);
            }
            inbox.pieces.push_back(piece);
        } else {
            inbox.joined.extend_from_slice(&piece);
            if inbox.joined.len() >= JOINED_BYTES_MAX {
                let joined = std::mem::take(&mut inbox.joined).freeze();
                inbox.pieces.push_back(joined);
            }
        }
        inbox.ended = ended;
        drop(inbox);
        self.readable.raise();
    }

    /// The trailers came, and with them the end.
    pub fn finish(&self, trailers: Vec<Field>, too_large: bool) {
        let mut inbox = self.inbox.borrow_mut();
        inbox.trailers = trailers;
        inbox.ended = true;
        drop(inbox);
        self.trailers_too_large.set(too_large);
        self.readable.raise();
    }

    /// Nothing can be sent any more; nothing more will come.
    pub fn lose(&self, fault: Option<&'static str>) {
        self.fault.set(fault);
        self.lost.set(true);
        self.readable.raise();
        self.writable.raise();
    }

    pub fn read(&self) -> Read {
        let mut inbox = self.inbox.borrow_mut();
        if let Some(piece) = inbox.pieces.pop_front() {
            return Read::Piece(piece);
        }
        if !inbox.joined.is_empty() {
            return Read::Piece(std::mem::take(&mut inbox.joined).freeze());
        }
        if inbox.ended {
            Read::End
        } else {
            Read::Pending
        }
    }

    /// The trailers once, and whether they were over their limits.
    pub fn take_trailers(&self) -> (Vec<Field>, bool) {
        let trailers = std::mem::take(&mut self.inbox.borrow_mut().trailers);
        (trailers, self.trailers_too_large.get())
    }

    pub fn is_lost(&self) -> bool {
        self.lost.get()
    }

    pub fn fault(&self) -> Option<&'static str> {
        self.fault.get()
    }

    pub fn is_answering(&self) -> bool {
        self.answering.get()
    }

    pub fn begin_answer(&self) {
        self.answering.set(true);
    }

    /// Something to read, or the loss of the stream.
    pub async fn readable(&self) {
        self.readable.wait().await;
    }

    /// Room to write, or the loss of the stream.
    pub async fn writable(&self) {
        self.writable.wait().await;
    }

    pub fn wake_writer(&self) {
        self.writable.raise();
    }
}

/// A connection as its streams see it.
pub struct Link {
    pub codec: RefCell<Connection>,
    /// Exchanges under way, by id.
    exchanges: RefCell<VecDeque<Rc<Stream>>>,
    driver: RefCell<Option<Waker>>,
    /// When the last exchange ended.
    idle_since: Cell<Instant>,
}

impl Link {
    pub fn new(codec: Connection, now: Instant) -> Rc<Link> {
        Rc::new(Link {
            codec: RefCell::new(codec),
            idle_since: Cell::new(now),
            exchanges: RefCell::default(),
            driver: RefCell::default(),
        })
    }

    /// The driver is what `touch` wakes.
    pub fn driven_by(&self, context: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        match &*driver {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => *driver = Some(context.waker().clone()),
        }
    }

    /// Has the driver send what the codec has.
    pub fn touch(&self) {
        let codec = self.codec.borrow();
        if (codec.has_output() || codec.is_over())
            && let Some(driver) = &*self.driver.borrow()
        {
            driver.wake_by_ref();
        }
    }

    /// A new exchange; it ends when the guard is dropped.
    pub fn open(self: &Rc<Link>, stream: Rc<Stream>) -> Opened {
        let link = self.clone();
        self.exchanges.borrow_mut().push_back(stream.clone());
        Opened { link, stream }
    }

    pub fn exchange(&self, id: u32) -> Option<Rc<Stream>> {
        let exchanges = self.exchanges.borrow();
        let at = exchanges
            .binary_search_by_key(&id, |stream| stream.id)
            .ok()?;
        exchanges.get(at).cloned()
    }

    fn exchanges(&self) -> usize {
        self.exchanges.borrow().len()
    }

    /// Since when no exchange is under way; `None` while one is.
    pub fn idle_since(&self) -> Option<Instant> {
        Some(self.idle_since.get()).filter(|_| self.exchanges() == 0)
    }

    /// The connection is gone: nobody will be answered.
    pub fn lose_all(&self) {
        let exchanges: Vec<_> = self.exchanges.borrow().iter().cloned().collect();
        exchanges.iter().for_each(|stream| stream.lose(None));
    }
}

/// An exchange under way: dropping it releases its stream.
pub struct Opened {
    link: Rc<Link>,
    stream: Rc<Stream>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let id = self.stream.id;
        {
            let mut exchanges = self.link.exchanges.borrow_mut();
            if let Ok(at) = exchanges.binary_search_by_key(&id, |stream| stream.id) {
                exchanges.remove(at);
            }
            if exchanges.is_empty() {
                *exchanges = VecDeque::new();
                self.link.idle_since.set(Instant::now());
            }
        }
        self.link.codec.borrow_mut().release(id);
        self.link.touch();
    }
}
