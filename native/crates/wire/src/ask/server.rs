//! The service's side: questions become exchanges in the queues of the workers, as requests of
//! clients do in a proxy, and what the workers say goes back as verdicts.

use super::auth::{NONCE_BYTES, Side, is_proof, nonce, proof};
use super::frame::{
    self, ASK, Ask, BODY, BadFrame, END, FAILED, Frame, HELLO, LEAVING, MAGIC, PROOF, RESPONSE,
    RESPONSE_BODY, VERDICT, WELCOME,
};
use super::link::GREETING_BYTES_MAX;
use super::pipe::{Unsent, next_frame};
use crate::error_code::ErrorCode;
use crate::exchange::{ConnectionFacts, Exchange, HeldResponse};
use crate::mailbox::News;
use crate::plan::{Plan, VerdictPlan};
use crate::record::{Extent, Outcome, Record};
use crate::thread::WireThread;
use bytes::{BufMut, Bytes, BytesMut};
use edge_http_policy::Version;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::{Error, ErrorKind, Result};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

/// Verdicts that a proxy does not read, beyond which its connection ends.
const UNSENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Serves one connection of a proxy.
pub(crate) async fn connection(thread: &Rc<WireThread>, facts: ConnectionFacts, stream: TcpStream) {
    let patience = Duration::from_millis(thread.limits().handshake_timeout_ms);
    let mut stream = stream;
    let secret = &thread.shared.service().secret;
    let greeted = thread
        .timers
        .within(patience, greet(&mut stream, secret))
        .await;
    let Some(Ok(buffer)) = greeted else {
        thread.shared.stats.service_proofs_failed.add(1);
        return thread.lost(&facts, Version::Http11, ErrorCode::HandshakeTimeout);
    };
    thread.shared.stats.service_connections.add(1);
    let connection = Rc::new(Connection::default());
    let (reader, writer) = stream.into_split();
    let mut leaving = pin!(connection.leave_on_drain(thread));
    tokio::select! {
        _ = connection.read(thread, reader, buffer) => {}
        _ = connection.write(writer) => {}
        () = &mut leaving => {}
    }
    for asked in connection.asked.take().into_values() {
        asked.put(Event::Gone);
    }
}

/// Has the proxy prove that it knows the secret, and proves the like.
async fn greet(stream: &mut TcpStream, secret: &str) -> Result<BytesMut> {
    let ours = nonce().ok_or_else(|| Error::other("no randomness"))?;
    let mut out = BytesMut::new();
    frame::put(&mut out, HELLO, 0, |out| {
        out.put_slice(MAGIC);
        out.put_slice(&ours);
    });
    stream.write_all_buf(&mut out).await?;
    let mut buffer = BytesMut::new();
    let answer = next_frame(stream, &mut buffer, GREETING_BYTES_MAX).await?;
    let Some((theirs, found)) = answer.content.split_first_chunk::<NONCE_BYTES>() else {
        return Err(ErrorKind::InvalidData.into());
    };
    let expected = proof(secret, Side::Proxy, &ours, theirs);
    if answer.kind != PROOF || !is_proof(found, expected) {
        return Err(ErrorKind::PermissionDenied.into());
    }
    let mine = proof(secret, Side::Service, &ours, theirs).unwrap_or_default();
    frame::put(&mut out, WELCOME, 0, |out| out.put_slice(&mine));
    stream.write_all_buf(&mut out).await?;
    Ok(buffer)
}

#[derive(Default)]
struct Connection {
    asked: RefCell<HashMap<u32, Rc<Asked>>>,
    unsent: Unsent,
    overfull: Notify,
    emptied: Notify,
}

/// What the proxy tells about an exchange that it asked about.
enum Event {
    Body,
    Response(Extent),
    ResponseBody(Extent),
    End(u16),
    /// It does not want to know any more.
    Gone,
}

/// One exchange that a proxy asked about.
struct Asked {
    exchange: Arc<Exchange>,
    body_follows: bool,
    body: RefCell<BytesMut>,
    response: Cell<Option<Extent>>,
    events: RefCell<VecDeque<Event>>,
    come: Notify,
}

impl Asked {
    fn put(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
        self.come.notify_one();
    }

    async fn next(&self) -> Event {
        loop {
            if let Some(event) = self.events.borrow_mut().pop_front() {
                return event;
            }
            self.come.notified().await;
        }
    }

    /// A piece of a body; all of it when it is the last one.
    fn piece(&self, piece: &frame::Piece) -> std::result::Result<Option<Bytes>, ErrorCode> {
        if !self.exchange.reserve(piece.bytes.len() as u64) {
            return Err(ErrorCode::BodyBudgetExhausted);
        }
        let mut body = self.body.borrow_mut();
        body.extend_from_slice(&piece.bytes);
        Ok(piece.is_last.then(|| std::mem::take(&mut *body).freeze()))
    }
}

impl Connection {
    /// Says when the service is about to end; resolves when nobody waits for it any more.
    async fn leave_on_drain(&self, thread: &Rc<WireThread>) {
        thread.shared.drain_begun().await;
        self.send(LEAVING, 0, |_| {});
        while !self.asked.borrow().is_empty() {
            self.emptied.notified().await;
        }
        // The proxy closes; the last verdict may still be on its way to it.
        std::future::pending::<()>().await;
    }

    fn send(&self, kind: u8, id: u32, content: impl FnOnce(&mut BytesMut)) {
        // Workers keep verdicts within the limit of a frame.
        self.unsent.put((kind, id), usize::MAX, content);
        if self.unsent.len() > UNSENT_BYTES_MAX {
            self.overfull.notify_one();
        }
    }

    fn fail(&self, id: u32, code: ErrorCode) {
        self.send(FAILED, id, |out| out.put_u16_le(code as u16));
    }

    async fn write(&self, mut writer: OwnedWriteHalf) -> Result<()> {
        loop {
            let mut batch = self.unsent.batch().await;
            tokio::select! {
                written = writer.write_all_buf(&mut batch) => written?,
                () = self.overfull.notified() => return Err(ErrorKind::TimedOut.into()),
            }
        }
    }

    async fn read(
        self: &Rc<Self>,
        thread: &Rc<WireThread>,
        mut reader: OwnedReadHalf,
        mut buffer: BytesMut,
    ) -> Result<()> {
        let bytes_max = thread.shared.service().frame_bytes_max;
        loop {
            let frame = next_frame(&mut reader, &mut buffer, bytes_max).await?;
            self.receive(thread, frame)?;
        }
    }

    fn receive(
        self: &Rc<Self>,
        thread: &Rc<WireThread>,
        Frame { kind, id, content }: Frame,
    ) -> std::result::Result<(), BadFrame> {
        if kind == ASK {
            return self.ask(thread, id, frame::read_ask(content)?);
        }
        if !matches!(kind, BODY | RESPONSE | RESPONSE_BODY | END) {
            return Err(BadFrame);
        }
        // What comes after a failure concerns an exchange that is gone.
        let Some(asked) = self.asked.borrow().get(&id).cloned() else {
            return Ok(());
        };
        match kind {
            BODY => {
                let piece = frame::read_piece(content)?;
                match asked.piece(&piece) {
                    Err(code) => self.refuse(id, &asked, code),
                    Ok(None) => {}
                    Ok(Some(body)) => {
                        let status = u32::from(piece.note);
                        asked.exchange.set_body(body, status);
                        asked.put(Event::Body);
                    }
                }
            }
            RESPONSE => {
                let (facts, extent) = frame::read_response(content)?;
                let _ = asked.exchange.response_head.set(facts);
                match extent {
                    Extent::Unread | Extent::TooLong => asked.put(Event::Response(extent)),
                    Extent::Whole | Extent::Beginning => asked.response.set(Some(extent)),
                }
            }
            RESPONSE_BODY => {
                let piece = frame::read_piece(content)?;
                let extent = Extent::of(piece.note).ok_or(BadFrame)?;
                match asked.piece(&piece) {
                    Err(code) => self.refuse(id, &asked, code),
                    Ok(None) => {}
                    Ok(Some(bytes)) => {
                        let complete = extent == Extent::Whole;
                        let body = HeldResponse { bytes, complete };
                        let _ = asked.exchange.response_body.set(body);
                        asked.put(match asked.response.take() {
                            Some(extent) => Event::Response(extent),
                            None => Event::ResponseBody(extent),
                        });
                    }
                }
            }
            _ => {
                let (status, is_wanted) = frame::read_end(content)?;
                asked.put(match is_wanted {
                    true => Event::End(status),
                    false => Event::Gone,
                });
            }
        }
        Ok(())
    }

    fn refuse(&self, id: u32, asked: &Asked, code: ErrorCode) {
        self.fail(id, code);
        asked.put(Event::Gone);
    }

    /// Takes a new exchange in, unless there are as many as the service bears.
    fn ask(
        self: &Rc<Self>,
        thread: &Rc<WireThread>,
        id: u32,
        ask: Ask,
    ) -> std::result::Result<(), BadFrame> {
        let mut asked = self.asked.borrow_mut();
        if asked.contains_key(&id) {
            return Err(BadFrame);
        }
        if asked.len() >= thread.shared.service().in_flight_max {
            self.fail(id, ErrorCode::WafQueueFull);
            return Ok(());
        }
        let (connection, budget) = (Arc::new(ask.connection), thread.shared.budget.clone());
        let exchange = Exchange::new(ask.head, connection, thread.index, budget);
        let new = Rc::new(Asked {
            exchange: Arc::new(exchange.asked_with(ask.question)),
            body_follows: ask.body_follows,
            body: RefCell::default(),
            response: Cell::new(None),
            events: RefCell::default(),
            come: Notify::new(),
        });
        asked.insert(id, new.clone());
        let life = Life::new(thread, self, id, new);
        thread.spawn(async move { life.run().await });
        Ok(())
    }
}

/// How far the worker was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    Later,
}

/// One exchange of a proxy, from its first question to its end.
struct Life {
    thread: Rc<WireThread>,
    connection: Rc<Connection>,
    id: u32,
    asked: Rc<Asked>,
    stage: Cell<Stage>,
    /// The epoch in which the worker was told last; another one: a worker was lost since then.
    epoch: Cell<u32>,
    outcome: RefCell<Outcome>,
}

impl Drop for Life {
    fn drop(&mut self) {
        let outcome = self.outcome.take();
        let (shared, exchange) = (&self.thread.shared, &self.asked.exchange);
        shared.hub.outcome(&self.thread.worklist, exchange, outcome);
        shared.active.fetch_sub(1, Ordering::Relaxed);
        let mut asked = self.connection.asked.borrow_mut();
        if asked
            .get(&self.id)
            .is_some_and(|one| Rc::ptr_eq(one, &self.asked))
        {
            asked.remove(&self.id);
        }
        drop(asked);
        self.connection.emptied.notify_one();
    }
}

impl Life {
    fn new(
        thread: &Rc<WireThread>,
        connection: &Rc<Connection>,
        id: u32,
        asked: Rc<Asked>,
    ) -> Life {
        thread.shared.active.fetch_add(1, Ordering::Relaxed);
        thread.shared.stats.exchanges.add(1);
        Life {
            thread: thread.clone(),
            connection: connection.clone(),
            id,
            asked,
            stage: Cell::new(Stage::Head),
            epoch: Cell::new(0),
            outcome: RefCell::default(),
        }
    }

    async fn run(&self) {
        if let Err(code) = self.answer().await {
            self.outcome.borrow_mut().error = Some(code);
            self.connection.fail(self.id, code);
        }
    }

    /// Answers one question after the other; ends with the exchange.
    async fn answer(&self) -> std::result::Result<(), ErrorCode> {
        let (shared, exchange) = (&self.thread.shared, &self.asked.exchange);
        shared.hub.submit(&self.thread.worklist, exchange)?;
        let mut is_awaited = true;
        loop {
            let patience = match is_awaited {
                true => self.thread.limits().worker_wait_timeout_ms,
                false => shared.service().state_timeout_ms,
            };
            tokio::select! {
                biased;
                news = exchange.mailbox.news(), if is_awaited => match news {
                    News::Failed(code) => return Err(code),
                    News::Plan(Plan::Verdict(verdict)) => match self.decided(&verdict) {
                        Next::Wait => {}
                        Next::Rest => is_awaited = false,
                        Next::End => return Ok(()),
                    },
                    News::Plan(Plan::Refuse(code)) => return Err(code),
                    News::Plan(_) => return Err(ErrorCode::Internal),
                },
                event = self.asked.next() => match event {
                    Event::Gone => return Ok(()),
                    // It came with the question: the worker has not asked for it yet.
                    Event::Body if is_awaited => {}
                    Event::Body => {
                        is_awaited = true;
                        self.tell_body();
                    }
                    _ if is_awaited => return Err(ErrorCode::Internal),
                    event => {
                        is_awaited = true;
                        self.tell(event)?;
                    }
                },
                () = self.thread.timers.after(Duration::from_millis(patience)) => {
                    return Err(ErrorCode::WafUnavailable);
                }
            }
        }
    }

    /// What to do with a verdict: it goes to the proxy, unless all that it asks for is here.
    fn decided(&self, verdict: &VerdictPlan) -> Next {
        let exchange = &self.asked.exchange;
        self.epoch.set(exchange.mailbox.seat().1);
        let is_asked_for = self.stage.get() == Stage::Body || self.asked.body_follows;
        if verdict.wants_body && is_asked_for {
            if exchange.body.get().is_none() {
                return Next::Rest; // on its way
            }
            self.tell_body();
            return Next::Wait;
        }
        self.connection.send(VERDICT, self.id, |out| {
            out.put_u8(u8::from(verdict.last));
            out.put_slice(&verdict.text);
        });
        match verdict.last {
            true => Next::End,
            false => Next::Rest,
        }
    }

    /// Phase 2. A worker that was lost meanwhile is replaced by one that begins with the head and
    /// will ask for the body itself.
    fn tell_body(&self) {
        let exchange = &self.asked.exchange;
        self.stage.set(Stage::Body);
        let (seat, epoch) = exchange.mailbox.seat();
        if epoch != self.epoch.get() {
            return;
        }
        let (status, bytes) = (exchange.body_status(), exchange.body.get());
        let bytes = u32::try_from(bytes.map_or(0, Bytes::len)).unwrap_or(u32::MAX);
        if let Some(seat) = seat {
            let handle = seat.handle;
            let record = Record::Body {
                handle,
                status,
                bytes,
            };
            self.thread
                .shared
                .hub
                .post(&self.thread.worklist, seat, record);
        }
    }

    /// What comes after the request: no other worker can take it over.
    fn tell(&self, event: Event) -> std::result::Result<(), ErrorCode> {
        let exchange = &self.asked.exchange;
        self.stage.set(Stage::Later);
        let seat = exchange.mailbox.inspect();
        let seat = seat.filter(|_| exchange.mailbox.seat().1 == self.epoch.get());
        let seat = seat.ok_or(ErrorCode::WafUnavailable)?;
        let handle = seat.handle;
        let record = match event {
            Event::Response(extent) => Record::Response {
                handle,
                exchange: exchange.clone(),
                extent,
            },
            Event::ResponseBody(extent) => Record::ResponseBody { handle, extent },
            Event::End(status) => {
                self.outcome.borrow_mut().status = status;
                Record::End { handle, status }
            }
            Event::Body | Event::Gone => return Err(ErrorCode::Internal),
        };
        let hub = &self.thread.shared.hub;
        match hub.post(&self.thread.worklist, seat, record) {
            true => Ok(()),
            false => Err(ErrorCode::WafUnavailable),
        }
    }
}

enum Next {
    /// The worker was asked again.
    Wait,
    /// The proxy's turn.
    Rest,
    End,
}
