//! The life of one exchange: health → worker → plan → carried out → outcome.

use crate::ask::{self, Question, Subject};
use crate::client::{Client, Failure, RequestBody};
use crate::error_code::ErrorCode;
use crate::exchange::{ConnectionFacts, Exchange};
use crate::forward::forward;
use crate::mailbox::{News, Seat};
use crate::outbound::{answer_headers, edit_response};
use crate::plan::{Edit, Plan, Respond};
use crate::record::{Outcome, Record};
use crate::seam::{BodyError, BodySource, ResponseSink};
use crate::thread::WireThread;
use bytes::{Bytes, BytesMut};
use edge_http_policy::{Head, Header, Refusal, Version};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Serves one request: everything between its head and the end of its response.
/// Dropping the future cancels the exchange (the outcome is still reported).
pub async fn serve(
    thread: &Rc<WireThread>,
    connection: &Arc<ConnectionFacts>,
    mut head: Head,
    body: impl BodySource,
    sink: impl ResponseSink,
) {
    join_cookies(&mut head);
    let mut client = Client::new(sink, &head);
    let mut body = RequestBody::new(body, &head);
    if *head.path == *thread.shared.config.health_path.as_bytes()
        && matches!(&*head.method, b"GET" | b"HEAD")
    {
        return health(thread, &mut client, &body).await;
    }
    let budget = thread.shared.budget.clone();
    let exchange = Arc::new(Exchange::new(
        head,
        connection.clone(),
        thread.index,
        budget,
    ));
    let mut run = Run {
        thread,
        report: Report::new(thread, &exchange),
        exchange,
        response_edits: Vec::new(),
    };
    let ended = run.carry_out(&mut body, &mut client).await;
    if let Err(failure) = ended {
        run.fail(failure, &body, &mut client).await;
    }
    run.report.finish(&body, &client);
}

/// h2 and h3 may send a cookie in crumbs; HTTP/1.1 backends want one field (RFC 9113 §8.2.3), and
/// the WAF must see what the backend will see.
fn join_cookies(head: &mut Head) {
    let is_cookie = |header: &Header| header.name.eq_ignore_ascii_case(b"cookie");
    let crumbs = match head.version {
        Version::Http2 | Version::Http3 => head.headers.iter().filter(|it| is_cookie(it)).count(),
        Version::Http10 | Version::Http11 => 0,
    };
    if crumbs < 2 {
        return;
    }
    let mut joined = BytesMut::new();
    for header in head.headers.iter().filter(|header| is_cookie(header)) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(&header.value);
    }
    let mut first = Some(joined.freeze());
    head.headers.retain_mut(|header| {
        if !is_cookie(header) {
            return true;
        }
        let joined = first.take();
        let kept = joined.is_some();
        header.value = joined.unwrap_or_default();
        kept
    });
}

/// The health answer: from one atomic, without any worker.
async fn health<B: BodySource, S: ResponseSink>(
    thread: &WireThread,
    client: &mut Client<S>,
    body: &RequestBody<B>,
) {
    let (status, text) = match thread.shared.health() {
        1 => (200, "ok\n"),
        2 => (503, "draining\n"),
        _ => (503, "starting\n"),
    };
    thread.shared.stats.health_answers.add(1);
    let field = |name: &'static str, value: &'static str| (name.into(), value.into());
    let headers = vec![
        field("content-type", "text/plain"),
        field("cache-control", "no-store"),
    ];
    if !body.ended() {
        client.close_after();
    }
    let _ = client
        .answer(status, headers, Bytes::from_static(text.as_bytes()))
        .await;
}

/// One exchange on its way.
pub struct Run<'a> {
    pub thread: &'a Rc<WireThread>,
    pub exchange: Arc<Exchange>,
    pub report: Report,
    /// Of the forward plan: they name the request on an answer of the wire's own as well.
    response_edits: Vec<Edit>,
}

impl Run<'_> {
    async fn carry_out<B: BodySource, S: ResponseSink>(
        &mut self,
        body: &mut RequestBody<B>,
        client: &mut Client<S>,
    ) -> Result<(), Failure> {
        self.thread
            .shared
            .hub
            .submit(&self.thread.worklist, &self.exchange)?;
        loop {
            match self.decision(client).await? {
                Plan::Respond(respond) => return self.respond(respond, body, client).await,
                Plan::ReadBody { max } => self.read_body(max as usize, body, client).await?,
                Plan::Forward(mut plan) => {
                    self.thread.shared.fill_template(&self.exchange, &mut plan);
                    let forwarded = forward(self, &plan, body, client).await;
                    if forwarded.is_err() {
                        self.response_edits = plan.response_edits;
                    }
                    return match forwarded? {
                        Some(respond) => self.respond(respond, body, client).await,
                        None => Ok(()),
                    };
                }
                Plan::Ask(question) => self.ask(question, client).await?,
                Plan::PassResponse(_)
                | Plan::ReadResponseBody { .. }
                | Plan::Verdict(_)
                | Plan::Refuse(_)
                | Plan::Done => {
                    return Err(ErrorCode::Internal.into());
                }
            }
        }
    }

    /// Waits for the worker; gives up when the client is gone or the worker takes too long.
    pub async fn decision<S: ResponseSink>(&self, client: &mut Client<S>) -> Result<Plan, Failure> {
        let wait = self.thread.limits().worker_wait_timeout_ms;
        tokio::select! {
            biased;
            news = self.exchange.mailbox.news() => match news {
                News::Plan(plan) => Ok(plan),
                News::Failed(code) => Err(code.into()),
            },
            () = client.sink.closed() => Err(Failure::Gone),
            () = self.thread.timers.after(Duration::from_millis(wait)) => {
                Err(ErrorCode::WafUnavailable.into())
            }
        }
    }

    /// Tells the worker something about the exchange, unless the worker was lost meanwhile: then
    /// another one begins again and will ask again.
    pub fn tell(&self, seat: Option<Seat>, record: impl FnOnce(u32) -> Record) {
        if let Some(seat) = seat {
            self.thread
                .shared
                .hub
                .post(&self.thread.worklist, seat, record(seat.handle));
        }
    }

    /// Asks the WAF service and tells the worker what it said.
    pub async fn ask<S: ResponseSink>(
        &self,
        question: Question,
        client: &mut Client<S>,
    ) -> Result<(), Failure> {
        let (_, epoch) = self.exchange.mailbox.seat();
        // Whoever is cancelled here takes it along, and the service learns that it is over.
        let mut stream = self.report.asked.take();
        let asker = &self.thread.asker;
        let (timers, exchange) = (&self.thread.timers, &*self.exchange);
        let subject = Subject {
            asker,
            timers,
            exchange,
        };
        let told = tokio::select! {
            biased;
            told = ask::ask(&subject, &mut stream, question) => told,
            () = client.sink.closed() => return Err(Failure::Gone),
        };
        self.report.asked.replace(stream);
        let (seat, epoch_now) = self.exchange.mailbox.seat();
        if epoch == epoch_now {
            self.tell(seat, |handle| Record::Verdict { handle, told });
        }
        Ok(())
    }

    async fn read_body<B: BodySource, S: ResponseSink>(
        &mut self,
        max: usize,
        body: &mut RequestBody<B>,
        client: &mut Client<S>,
    ) -> Result<(), Failure> {
        let (_, epoch) = self.exchange.mailbox.seat();
        if self.exchange.body.get().is_none() {
            if body.takes_continue() {
                client.sink.interim(100, Vec::new()).await?;
            }
            let (bytes, status) = self.collect(max, body).await;
            self.exchange.set_body(bytes, status);
        }
        let bytes = self.exchange.body.get().map_or(0, Bytes::len);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let status = self.exchange.body_status();
        let (seat, epoch_now) = self.exchange.mailbox.seat();
        if epoch == epoch_now {
            self.tell(seat, |handle| Record::Body {
                handle,
                status,
                bytes,
            });
        }
        Ok(())
    }

    /// Collects up to `max` bytes; with the status of the BODY record.
    async fn collect<B: BodySource>(&self, max: usize, body: &mut RequestBody<B>) -> (Bytes, u32) {
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        let status = loop {
            let held = first.len() + more.len();
            let mut piece = match body.next().await {
                None => break 0,
                Some(Ok(piece)) => piece,
                Some(Err(BodyError::Incomplete)) => break 2,
                Some(Err(BodyError::Timeout)) => break 4,
                Some(Err(BodyError::TooSlow)) => break 5,
                Some(Err(BodyError::Invalid(Refusal::TrailersTooLarge))) => break 7,
                Some(Err(BodyError::Invalid(_))) => break 6,
            };
            let longer = held + piece.len() > max;
            if longer {
                body.put_back(piece.split_off(max.saturating_sub(held)));
            }
            if !self.exchange.reserve(piece.len() as u64) {
                break 3;
            }
            if held == 0 {
                first = piece; // one piece, as most bodies are, is not copied
            } else {
                if more.is_empty() {
                    more.reserve(body.expected(max).max(first.len() + piece.len()));
                    more.extend_from_slice(&first);
                    first = Bytes::new();
                }
                more.extend_from_slice(&piece);
            }
            if longer {
                break 1;
            }
        };
        (
            if more.is_empty() {
                first
            } else {
                more.freeze()
            },
            status,
        )
    }

    async fn respond<B: BodySource, S: ResponseSink>(
        &mut self,
        respond: Respond,
        body: &RequestBody<B>,
        client: &mut Client<S>,
    ) -> Result<(), Failure> {
        if respond.close || !body.ended() {
            client.close_after();
        }
        if !(200..=599).contains(&respond.status) {
            return Err(ErrorCode::Internal.into());
        }
        client
            .answer(
                respond.status,
                answer_headers(respond.headers),
                respond.body,
            )
            .await?;
        Ok(())
    }

    /// Tells the client what went wrong, as far as that is still possible.
    async fn fail<B: BodySource, S: ResponseSink>(
        &mut self,
        failure: Failure,
        body: &RequestBody<B>,
        client: &mut Client<S>,
    ) {
        let code = match failure {
            Failure::Gone => {
                self.report.outcome.client_aborted = true;
                self.report.outcome.error = Some(ErrorCode::ClientAborted);
                return client.sink.reset();
            }
            Failure::Code(code) => code,
        };
        self.report.outcome.error = Some(code);
        if client.head_sent() {
            return client.sink.reset();
        }
        if !body.ended() {
            client.close_after();
        }
        let Some(mut answer) = self.thread.shared.answer(code).cloned() else {
            return;
        };
        edit_response(&mut answer.headers, &self.response_edits);
        if client
            .answer(answer.status, answer.headers, answer.body)
            .await
            .is_err()
        {
            self.report.outcome.client_aborted = true;
        }
    }
}

/// Reports the outcome exactly once: also when the exchange is cancelled or panics.
pub struct Report {
    thread: Rc<WireThread>,
    exchange: Arc<Exchange>,
    started: Instant,
    finished: bool,
    pub outcome: Outcome,
    /// The exchange at the WAF service, which may have more to tell at the end.
    pub asked: RefCell<Option<ask::Stream>>,
}

impl Report {
    fn new(thread: &Rc<WireThread>, exchange: &Arc<Exchange>) -> Report {
        thread.shared.active.fetch_add(1, Ordering::Relaxed);
        thread.shared.stats.exchanges.add(1);
        let (thread, exchange) = (thread.clone(), exchange.clone());
        let (started, outcome) = (Instant::now(), Outcome::default());
        Report {
            thread,
            exchange,
            started,
            finished: false,
            outcome,
            asked: RefCell::default(),
        }
    }

    /// Microseconds since the exchange began, at least 1.
    pub fn elapsed_us(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_micros())
            .unwrap_or(u32::MAX)
            .max(1)
    }

    /// The response to what was sent at `sent_at_us` begins.
    pub fn answered(&mut self, sent_at_us: u32) {
        self.outcome.first_byte_us = self.elapsed_us().saturating_sub(sent_at_us).max(1);
    }

    fn finish<B: BodySource, S: ResponseSink>(mut self, body: &RequestBody<B>, client: &Client<S>) {
        self.finished = true;
        self.outcome.status = client.status();
        self.outcome.head_sent = client.head_sent();
        self.outcome.request_body_bytes = body.bytes();
        self.outcome.response_body_bytes = client.body_bytes();
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.finished {
            let panicking = std::thread::panicking();
            self.outcome.client_aborted = !panicking;
            self.outcome.error = Some(if panicking {
                ErrorCode::Internal
            } else {
                ErrorCode::ClientAborted
            });
        }
        self.outcome.duration_us = self.elapsed_us();
        if let Some(code) = self.outcome.error {
            self.thread.shared.stats.failed(code);
        }
        let outcome = std::mem::take(&mut self.outcome);
        let (thread, exchange) = (self.thread.clone(), self.exchange.clone());
        let asked = self.asked.take().filter(ask::Stream::is_open);
        match asked.filter(|_| !std::thread::panicking()) {
            None => over(&thread, &exchange, outcome),
            Some(stream) => {
                let on = thread.clone();
                thread.spawn(async move { last_words(&on, &exchange, stream, outcome).await });
            }
        }
    }
}

fn over(thread: &WireThread, exchange: &Arc<Exchange>, outcome: Outcome) {
    let shared = &thread.shared;
    shared.hub.outcome(&thread.worklist, exchange, outcome);
    shared.active.fetch_sub(1, Ordering::Relaxed);
}

/// What the WAF service has to tell of an exchange that is over goes before the outcome.
async fn last_words(
    thread: &Rc<WireThread>,
    exchange: &Arc<Exchange>,
    stream: ask::Stream,
    outcome: Outcome,
) {
    let status = outcome.status;
    let told = stream.end(&thread.asker, &thread.timers, status).await;
    if let (Some(seat), _) = exchange.mailbox.seat() {
        let handle = seat.handle;
        let record = Record::Verdict { handle, told };
        thread.shared.hub.post(&thread.worklist, seat, record);
    }
    over(thread, exchange, outcome);
}
