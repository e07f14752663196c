//! The response of one HTTP/1.1 exchange.

use crate::exchange::ConnectionFacts;
use crate::h1_head::{Framing, is_chunked, put_field, write_head, write_interim};
use crate::h1_io::{Bytestream, Transport};
use crate::outbound::lists;
use crate::seam::{BodyLength, Field, Gone, ResponseHead, ResponseSink};
use crate::thread::WireThread;
use edge_http_policy::{Head, Version};
use std::cell::Cell;

/// What the connection and an exchange's two directions tell each other.
pub struct Turn {
    http11: bool,
    /// The client can take trailers: it says so (RFC 9110 §10.1.4), or it speaks gRPC.
    trailers: bool,
    /// The connection ends after this response.
    pub close: Cell<bool>,
    /// The response was sent to its end.
    pub ended: Cell<bool>,
    /// The request body was read to its end.
    pub body_done: Cell<bool>,
    /// The client waits for a 100 before it sends its body: without one it may never send it.
    pub waits: Cell<bool>,
}

impl Turn {
    /// `last`: no further request is taken.
    pub fn new(head: &Head, last: bool) -> Turn {
        let http11 = head.version == Version::Http11;
        Turn {
            http11,
            trailers: http11 && takes_trailers(head),
            close: Cell::new(last),
            ended: Cell::new(false),
            body_done: Cell::new(!head.framing.has_body()),
            waits: Cell::new(head.expect_continue),
        }
    }
}

fn takes_trailers(head: &Head) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    head.headers.iter().any(|header| match header.name.len() {
        2 => header.name.eq_ignore_ascii_case(b"te") && lists(&header.value, b"trailers"),
        12 => header.name.eq_ignore_ascii_case(b"content-type") && header.value.starts_with(GRPC),
        _ => false,
    })
}

/// See `ResponseSink`.
pub struct H1Sink<'a, S> {
    pub thread: &'a WireThread,
    pub facts: &'a ConnectionFacts,
    pub stream: &'a Bytestream<S>,
    pub turn: &'a Turn,
    pub chunked: bool,
}

impl<S: Transport> H1Sink<'_, S> {
    fn alt_svc(&self) -> &str {
        let listeners = &self.thread.shared.config.listeners;
        match listeners.get(self.facts.listener as usize) {
            Some(listener) if self.facts.tls => &listener.alt_svc,
            _ => "",
        }
    }
}

impl<S: Transport> ResponseSink for H1Sink<'_, S> {
    async fn interim(&mut self, status: u16, headers: Vec<Field>) -> Result<(), Gone> {
        if !self.turn.http11 {
            return Ok(());
        }
        if status == 100 {
            self.turn.waits.set(false);
        }
        self.stream
            .queue(|output| write_interim(output, status, &headers));
        self.stream.flush().await
    }

    async fn head(&mut self, head: ResponseHead) -> Result<(), Gone> {
        let turn = self.turn;
        self.chunked = is_chunked(head.body, turn.http11);
        let without_end = match head.body {
            BodyLength::Unknown => !turn.http11,
            BodyLength::Tunnel => true,
            _ => false,
        };
        if without_end || self.thread.shared.draining() {
            turn.close.set(true);
        }
        let framing = Framing {
            http11: turn.http11,
            close: turn.close.get(),
            alt_svc: self.alt_svc(),
        };
        self.stream
            .queue(|output| write_head(output, &head, &framing));
        Ok(())
    }

    async fn data(&mut self, piece: bytes::Bytes) -> Result<(), Gone> {
        self.stream.send(piece, self.chunked).await
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.stream.flush().await
    }

    async fn end(&mut self) -> Result<(), Gone> {
        self.trailers(Vec::new()).await
    }

    async fn trailers(&mut self, trailers: Vec<Field>) -> Result<(), Gone> {
        if self.chunked {
            self.stream.queue(|output| {
                output.extend_from_slice(b"0\r\n");
                let sent = trailers.iter().filter(|_| self.turn.trailers);
                sent.for_each(|(name, value)| put_field(output, name, value));
                output.extend_from_slice(b"\r\n");
            });
        }
        self.stream.flush().await?;
        self.turn.ended.set(true);
        Ok(())
    }

    fn reset(&mut self) {
        self.turn.ended.set(false);
    }

    fn close_after(&mut self) {
        self.turn.close.set(true);
    }

    async fn closed(&mut self) {
        self.stream.broken().await;
    }
}
