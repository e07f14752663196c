//! One connection to the service, from the proxy's side: questions of many exchanges go out in one
//! write, answers come back in any order.

use super::ServiceConfig;
use super::auth::{NONCE_BYTES, Side, is_proof, nonce, proof};
use super::frame::{self, FAILED, Frame, HELLO, LEAVING, MAGIC, PROOF, VERDICT, WELCOME};
use super::pipe::{Unsent, next_frame};
use crate::error_code::ErrorCode;
use bytes::{BufMut, Bytes, BytesMut};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

/// Bytes that wait to be written, beyond which bodies wait.
const UNSENT_BYTES_MAX: usize = 1024 * 1024;
/// Longest frame before both sides know each other.
pub const GREETING_BYTES_MAX: usize = 256;
/// Deadlines in a row in which nothing at all was heard: then nobody is there.
const SILENCES_MAX: u32 = 3;

/// What the service said to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `last`: the service keeps nothing of the exchange.
    Verdict {
        last: bool,
        text: Bytes,
    },
    Failed(ErrorCode),
    /// The connection is gone, and the exchange with it.
    Broken,
}

/// Where one exchange waits for its answer.
#[derive(Default)]
pub struct Waiter {
    answer: RefCell<Option<Answer>>,
    come: Notify,
}

impl Waiter {
    fn put(&self, answer: Answer) {
        *self.answer.borrow_mut() = Some(answer);
        self.come.notify_one();
    }

    /// The next answer.
    pub async fn next(&self) -> Answer {
        loop {
            if let Some(answer) = self.answer.borrow_mut().take() {
                return answer;
            }
            self.come.notified().await;
        }
    }
}

/// One connection.
pub struct Link {
    pub address: SocketAddr,
    frame_bytes_max: usize,
    unsent: Unsent,
    room: Notify,
    waiters: RefCell<HashMap<u32, Rc<Waiter>>>,
    next_id: Cell<u32>,
    /// Takes no new exchanges: the service said so, or it is there no more.
    closed: Cell<bool>,
    ended: Notify,
    silences: Cell<u32>,
    /// Frames heard so far.
    heard: Cell<u64>,
}

impl Link {
    /// Connects, and makes sure that both sides know the secret.
    pub async fn open(
        address: SocketAddr,
        config: &ServiceConfig,
    ) -> Result<(Rc<Link>, TcpStream, BytesMut)> {
        let mut stream = TcpStream::connect(address).await?;
        let _ = stream.set_nodelay(true);
        let buffer = greet(&mut stream, &config.secret).await?;
        let link = Link {
            address,
            frame_bytes_max: config.frame_bytes_max,
            unsent: Unsent::default(),
            room: Notify::new(),
            waiters: RefCell::default(),
            next_id: Cell::new(1),
            closed: Cell::new(false),
            ended: Notify::new(),
            silences: Cell::new(0),
            heard: Cell::new(0),
        };
        Ok((Rc::new(link), stream, buffer))
    }

    /// Carries frames both ways until either side ends.
    pub async fn run(&self, stream: TcpStream, buffer: BytesMut) {
        let (reader, writer) = stream.into_split();
        tokio::select! {
            _ = self.read(reader, buffer) => {}
            _ = self.write(writer) => {}
            () = self.ended.notified() => {}
        }
        self.closed.set(true);
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        for waiter in waiters.into_values() {
            waiter.put(Answer::Broken);
        }
        self.room.notify_waiters();
    }

    /// Whether new exchanges may be begun here.
    pub fn is_open(&self) -> bool {
        !self.closed.get()
    }

    /// Exchanges that the service knows by this connection.
    pub fn load(&self) -> usize {
        self.waiters.borrow().len()
    }

    /// Whether the last question that ended here ended in silence.
    pub fn is_suspect(&self) -> bool {
        self.silences.get() > 0
    }

    /// No new exchanges; the connection ends with the last of its own.
    pub fn leave(&self) {
        self.closed.set(true);
        self.end_if_done();
    }

    /// Frames heard so far: to tell whether a deadline passed in silence.
    pub fn heard(&self) -> u64 {
        self.heard.get()
    }

    /// A question got no answer in time; `heard_before` frames had been heard when it was asked.
    pub fn missed(&self, heard_before: u64) {
        if self.heard.get() != heard_before {
            return;
        }
        self.silences.set(self.silences.get() + 1);
        if self.silences.get() >= SILENCES_MAX {
            self.closed.set(true);
            self.ended.notify_one();
        }
    }

    /// A number for a new exchange, and where it waits; `None` once the connection is gone.
    pub fn begin(&self) -> Option<(u32, Rc<Waiter>)> {
        if self.closed.get() {
            return None;
        }
        let mut waiters = self.waiters.borrow_mut();
        let mut id = self.next_id.get();
        while waiters.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        self.next_id.set(id.wrapping_add(1));
        let waiter = Rc::new(Waiter::default());
        waiters.insert(id, waiter.clone());
        Some((id, waiter))
    }

    /// Forgets an exchange.
    pub fn forget(&self, id: u32) {
        self.waiters.borrow_mut().remove(&id);
        self.end_if_done();
    }

    fn end_if_done(&self) {
        if self.closed.get() && self.waiters.borrow().is_empty() {
            self.ended.notify_one();
        }
    }

    /// Queues a frame. False: it is longer than the service takes.
    pub fn send(&self, kind: u8, id: u32, content: impl FnOnce(&mut BytesMut)) -> bool {
        self.unsent.put((kind, id), self.frame_bytes_max, content)
    }

    /// Queues a body in pieces, as room comes.
    pub async fn send_body(&self, (kind, id): (u8, u32), note: u8, body: &Bytes) {
        let mut left = body.clone();
        loop {
            while self.unsent.len() >= UNSENT_BYTES_MAX && self.alive(id) {
                self.room.notified().await;
            }
            let piece = left.split_to(left.len().min(frame::PIECE_BYTES_MAX));
            let is_last = left.is_empty();
            self.send(kind, id, |out| {
                out.put_u8(u8::from(is_last));
                out.put_u8(note);
                out.put_slice(&piece);
            });
            if is_last {
                return;
            }
        }
    }

    fn alive(&self, id: u32) -> bool {
        self.waiters.borrow().contains_key(&id)
    }

    async fn write(&self, mut writer: OwnedWriteHalf) -> Result<()> {
        loop {
            let mut batch = self.unsent.batch().await;
            self.room.notify_waiters();
            writer.write_all_buf(&mut batch).await?;
        }
    }

    async fn read(&self, mut reader: OwnedReadHalf, mut buffer: BytesMut) -> Result<()> {
        loop {
            let frame = next_frame(&mut reader, &mut buffer, self.frame_bytes_max).await?;
            self.receive(frame)?;
        }
    }

    fn receive(&self, Frame { kind, id, content }: Frame) -> Result<()> {
        self.heard.set(self.heard.get() + 1);
        self.silences.set(0);
        let mut content = frame::Reader(content);
        let answer = match kind {
            VERDICT => Answer::Verdict {
                last: content.u8()? != 0,
                text: content.0,
            },
            FAILED => {
                let code = usize::from(content.u16()?);
                let code = ErrorCode::ALL.get(code).copied();
                Answer::Failed(code.unwrap_or(ErrorCode::WafUnavailable))
            }
            LEAVING => {
                self.leave();
                return Ok(());
            }
            _ => return Err(frame::BadFrame.into()),
        };
        // What came too late concerns nobody.
        if let Some(waiter) = self.waiters.borrow().get(&id) {
            waiter.put(answer);
        }
        Ok(())
    }
}

/// Proves to the service that this is a proxy of its own, and has it prove the like.
async fn greet(stream: &mut TcpStream, secret: &str) -> Result<BytesMut> {
    let mut buffer = BytesMut::new();
    let hello = next_frame(stream, &mut buffer, GREETING_BYTES_MAX).await?;
    let magic = hello.content.get(..MAGIC.len());
    let theirs = hello.content.get(MAGIC.len()..);
    let theirs: Option<&[u8; NONCE_BYTES]> = theirs.and_then(|rest| rest.try_into().ok());
    let (HELLO, Some(MAGIC), Some(theirs)) = (hello.kind, magic, theirs) else {
        return Err(frame::BadFrame.into());
    };
    let ours = nonce().ok_or_else(|| Error::other("no randomness"))?;
    let mine = proof(secret, Side::Proxy, theirs, &ours).unwrap_or_default();
    let mut out = BytesMut::new();
    frame::put(&mut out, PROOF, 0, |out| {
        out.put_slice(&ours);
        out.put_slice(&mine);
    });
    stream.write_all_buf(&mut out).await?;
    let welcome = next_frame(stream, &mut buffer, GREETING_BYTES_MAX).await?;
    let expected = proof(secret, Side::Service, theirs, &ours);
    match welcome.kind == WELCOME && is_proof(&welcome.content, expected) {
        true => Ok(buffer),
        false => Err(Error::new(
            ErrorKind::PermissionDenied,
            "it does not know the secret",
        )),
    }
}
