//! The response of one HTTP/2 stream.

use crate::h1_head::{decimal, with_date};
use crate::h2_link::{Link, Stream};
use crate::seam::{BodyLength, Field, Gone, ResponseHead, ResponseSink};
use crate::timers::Timers;
use bytes::Bytes;
use edge_h2::{Closed, Connection, Reason};
use edge_http_policy::{is_field_value, is_token};
use std::rc::Rc;
use std::time::Duration;

/// The sink of an exchange.
pub struct H2Sink<'a> {
    pub link: Rc<Link>,
    pub stream: Rc<Stream>,
    pub timers: Rc<Timers>,
    /// Bytes to come, when known: the last of them ends the stream.
    pub left: Option<u64>,
    pub ended: bool,
    /// How long the client may take nothing.
    pub patience: Duration,
    pub alt_svc: &'a str,
}

impl From<Closed> for Gone {
    fn from(_: Closed) -> Gone {
        Gone
    }
}

/// Field lines as they are sent. A malformed one would make the response malformed for the
/// client, so it is left out.
fn lines(fields: &[Field]) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields
        .iter()
        .filter(|(name, value)| is_token(name) && is_field_value(value))
        .map(|(name, value)| (&name[..], &value[..]))
}

/// Sends the head of a response; framing fields and the date are added here.
pub fn send_head(
    codec: &mut Connection,
    stream: u32,
    head: &ResponseHead,
    alt_svc: &str,
) -> Result<(), Closed> {
    let (length, end) = match head.body {
        BodyLength::None => (None, true),
        BodyLength::Announced(length) => (Some(length), true),
        BodyLength::Known(length) => (Some(length), length == 0),
        BodyLength::Unknown | BodyLength::Tunnel => (None, false),
    };
    let mut digits = [0; 20];
    let length = length.map(|length| (&b"content-length"[..], decimal(length, &mut digits)));
    let alt_svc = (!alt_svc.is_empty()).then_some((&b"alt-svc"[..], alt_svc.as_bytes()));
    let dated = head
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case(b"date"));
    with_date(|date| {
        let date = (!dated).then_some((&b"date"[..], date));
        let fields = lines(&head.headers)
            .chain(length)
            .chain(date)
            .chain(alt_svc);
        codec.send_head(stream, head.status, fields, end)
    })
}

impl H2Sink<'_> {
    /// Waits for room; 0 never.
    async fn room(&self) -> Result<usize, Gone> {
        loop {
            let room = self.link.codec.borrow_mut().room(self.stream.id)?;
            if room > 0 {
                return Ok(room);
            }
            tokio::select! {
                biased;
                () = self.stream.writable() => {}
                () = self.timers.after(self.patience) => return Err(Gone),
            }
            if self.stream.is_lost() {
                return Err(Gone);
            }
        }
    }

    fn send(&mut self, piece: Bytes, end: bool) -> Result<(), Gone> {
        self.ended = end;
        let sent = self
            .link
            .codec
            .borrow_mut()
            .send_data(self.stream.id, piece, end);
        self.link.touch();
        Ok(sent?)
    }
}

impl ResponseSink for H2Sink<'_> {
    async fn interim(&mut self, status: u16, headers: Vec<Field>) -> Result<(), Gone> {
        let id = self.stream.id;
        let sent = self
            .link
            .codec
            .borrow_mut()
            .send_interim(id, status, lines(&headers));
        self.link.touch();
        Ok(sent?)
    }

    async fn head(&mut self, head: ResponseHead) -> Result<(), Gone> {
        self.stream.begin_answer();
        self.left = match head.body {
            BodyLength::Known(length) => Some(length),
            _ => None,
        };
        self.ended = matches!(
            head.body,
            BodyLength::None | BodyLength::Announced(_) | BodyLength::Known(0)
        );
        let sent = send_head(
            &mut self.link.codec.borrow_mut(),
            self.stream.id,
            &head,
            self.alt_svc,
        );
        self.link.touch();
        Ok(sent?)
    }

    async fn data(&mut self, mut piece: Bytes) -> Result<(), Gone> {
        if self.ended {
            return Ok(());
        }
        while !piece.is_empty() {
            let room = self.room().await?;
            let part = piece.split_to(room.min(piece.len()));
            if let Some(left) = &mut self.left {
                let Some(rest) = left.checked_sub(part.len() as u64) else {
                    self.reset();
                    return Err(Gone);
                };
                *left = rest;
            }
            self.send(part, self.left == Some(0))?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Gone> {
        if self.ended {
            return Ok(());
        }
        if self.left.is_some() {
            self.reset(); // the length that was announced did not come
            return Err(Gone);
        }
        self.send(Bytes::new(), true)
    }

    async fn trailers(&mut self, mut trailers: Vec<Field>) -> Result<(), Gone> {
        if self.ended {
            return Ok(());
        }
        if self.left.is_some() || trailers.is_empty() {
            return self.end().await;
        }
        trailers.retain(|(name, value)| is_token(name) && is_field_value(value));
        self.ended = true;
        let sent = self
            .link
            .codec
            .borrow_mut()
            .send_trailers(self.stream.id, trailers);
        self.link.touch();
        Ok(sent?)
    }

    fn reset(&mut self) {
        self.link
            .codec
            .borrow_mut()
            .reset(self.stream.id, Reason::Internal);
        self.link.touch();
    }

    async fn closed(&mut self) {
        while !self.stream.is_lost() {
            self.stream.writable().await;
        }
    }
}
