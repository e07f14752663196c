//! The request body of one HTTP/1.1 exchange, and the client's side of a tunnel.

use crate::h1_io::{Bytestream, Transport};
use crate::rate::{Late, Rate};
use crate::seam::{BodyError, BodySource, Field};
use bytes::Bytes;
use edge_http_policy::{BodyEvent, BodyReader};
use std::cell::Cell;

/// See `BodySource`.
pub struct H1Body<'a, S> {
    stream: &'a Bytestream<S>,
    reader: BodyReader,
    rate: Rate,
    /// Read to its end: what follows is the next request.
    done: &'a Cell<bool>,
    failed: bool,
    tunnel: bool,
}

impl<'a, S> H1Body<'a, S> {
    /// `done` turns true when `reader` has read the whole body.
    pub fn new(
        stream: &'a Bytestream<S>,
        reader: BodyReader,
        done: &'a Cell<bool>,
    ) -> H1Body<'a, S> {
        H1Body {
            stream,
            reader,
            rate: Rate::new(stream.pace),
            done,
            failed: false,
            tunnel: false,
        }
    }
}

impl<S: Transport> H1Body<'_, S> {
    /// Whatever the client sent after its head, then whatever it sends, until it closes its side.
    async fn next_of_tunnel(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let came = self.stream.io.borrow_mut().input.split();
            if !came.is_empty() {
                return Some(Ok(came.freeze()));
            }
            match self.stream.fill().await {
                Ok(1..) => {}
                Ok(_) => return None,
                Err(_) => {
                    self.failed = true;
                    return Some(Err(BodyError::Incomplete));
                }
            }
        }
    }
}

impl<S: Transport> BodySource for H1Body<'_, S> {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if self.tunnel && !self.failed {
            return self.next_of_tunnel().await;
        }
        loop {
            if self.failed || self.done.get() {
                return None;
            }
            let event = self.reader.push(&mut self.stream.io.borrow_mut().input);
            let error = match event {
                Ok(BodyEvent::Data(piece)) => return Some(Ok(piece)),
                Ok(BodyEvent::End) => {
                    self.done.set(true);
                    continue;
                }
                Ok(BodyEvent::NeedMore) => match self.stream.fill_in_time(&mut self.rate).await {
                    Ok(Ok(1..)) => continue,
                    Ok(_) => BodyError::Incomplete,
                    Err(Late::Idle) => BodyError::Timeout,
                    Err(Late::Slow) => BodyError::TooSlow,
                },
                Err(refusal) => BodyError::Invalid(refusal),
            };
            self.failed = true;
            return Some(Err(error));
        }
    }

    fn trailers(&mut self) -> Vec<Field> {
        self.reader.trailers()
    }

    fn open_tunnel(&mut self) {
        self.tunnel = true;
    }
}

impl<S> Drop for H1Body<'_, S> {
    /// An exchange may end knowing the length without having asked for the end; and what of an
    /// unread body is here already costs nothing to skip.
    fn drop(&mut self) {
        let Ok(mut io) = self.stream.io.try_borrow_mut() else {
            return;
        };
        while !self.failed && !self.tunnel && !self.done.get() {
            match self.reader.push(&mut io.input) {
                Ok(BodyEvent::Data(_)) => {}
                Ok(BodyEvent::End) => self.done.set(true),
                Ok(BodyEvent::NeedMore) | Err(_) => return,
            }
        }
    }
}
