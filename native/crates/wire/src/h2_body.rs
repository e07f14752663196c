//! The request body of one HTTP/2 stream: its window opens as it is used.

use crate::config::WireLimits;
use crate::h2_link::{Link, Read, Stream};
use crate::rate::{Late, Rate, RateLimits};
use crate::seam::{BodyError, BodySource, Field};
use crate::timers::Timers;
use bytes::Bytes;
use edge_http_policy::{Framing, Head, Refusal, TrailerLimits, trailers};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The body of an exchange.
pub struct H2Body {
    link: Rc<Link>,
    stream: Rc<Stream>,
    timers: Rc<Timers>,
    limits: Rc<WireLimits>,
    rate: Rate,
    /// Nobody knows how much the client has to say: once it is being answered, it may take its
    /// time (gRPC, and tunnels from the beginning).
    is_dialogue: bool,
    /// Bytes returned last time; by now they are used.
    used: usize,
    done: bool,
    trailers: Vec<Field>,
}

impl H2Body {
    pub fn new(
        link: &Rc<Link>,
        stream: &Rc<Stream>,
        head: &Head,
        (timers, limits): (&Rc<Timers>, Rc<WireLimits>),
    ) -> H2Body {
        let mut types = head.header("content-type");
        let is_grpc = types.any(|value| value.starts_with(b"application/grpc"));
        let rate = Rate::new(RateLimits {
            bytes_min: if is_grpc {
                0
            } else {
                limits.body_rate_bytes_min
            },
            grace: Duration::from_millis(limits.body_rate_grace_ms),
            idle: Duration::from_millis(limits.body_idle_timeout_ms),
        });
        if head.websocket {
            stream.begin_answer();
        }
        H2Body {
            link: link.clone(),
            stream: stream.clone(),
            timers: timers.clone(),
            limits,
            rate,
            is_dialogue: head.websocket || head.framing == Framing::UntilEnd,
            used: 0,
            done: head.framing == Framing::None && !head.websocket,
            trailers: Vec::new(),
        }
    }

    fn give_back(&mut self) {
        let used = std::mem::take(&mut self.used);
        if used > 0 {
            self.link.codec.borrow_mut().consume(self.stream.id, used);
            self.link.touch();
        }
    }

    /// The end: trailers are checked here, so that a body with bad ones is a bad body.
    fn end(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.done = true;
        let (fields, too_large) = self.stream.take_trailers();
        let limits = TrailerLimits {
            count_max: self.limits.trailer_count_max,
            bytes_max: self.limits.trailer_bytes_max,
        };
        let checked = match too_large {
            true => Err(Refusal::TrailersTooLarge),
            false => trailers(fields.into_iter(), &limits),
        };
        match checked {
            Ok(trailers) => {
                self.trailers = trailers;
                None
            }
            Err(refusal) => Some(Err(BodyError::Invalid(refusal))),
        }
    }

    fn lost(&self) -> BodyError {
        match self.stream.fault() {
            Some(fault) => BodyError::Invalid(Refusal::BadRequest(fault)),
            None => BodyError::Incomplete,
        }
    }
}

impl BodySource for H2Body {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.give_back();
        loop {
            if self.done {
                return None;
            }
            if self.stream.is_lost() {
                self.done = true;
                return Some(Err(self.lost()));
            }
            match self.stream.read() {
                Read::Piece(piece) => {
                    self.used = piece.len();
                    match self.rate.waits() {
                        true => self.rate.moved(piece.len(), Instant::now()),
                        false => self.rate.moved_at_once(piece.len()),
                    }
                    return Some(Ok(piece));
                }
                Read::End => return self.end(),
                Read::Pending => {}
            }
            if self.is_dialogue && self.stream.is_answering() {
                self.stream.readable().await;
                continue;
            }
            let (patience, late) = self.rate.wait(Instant::now());
            tokio::select! {
                biased;
                () = self.stream.readable() => {}
                () = self.timers.after(patience) => {
                    if self.is_dialogue && self.stream.is_answering() {
                        continue;
                    }
                    self.done = true;
                    return Some(Err(match late {
                        Late::Idle => BodyError::Timeout,
                        Late::Slow => BodyError::TooSlow,
                    }));
                }
            }
        }
    }

    fn trailers(&mut self) -> Vec<Field> {
        std::mem::take(&mut self.trailers)
    }
}
