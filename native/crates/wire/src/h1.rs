//! HTTP/1.1 towards clients: one exchange after the other, framing read strictly and rebuilt.

use crate::error_code::ErrorCode;
use crate::exchange::ConnectionFacts;
use crate::h1_head::{Framing, is_chunked, write_head};
use crate::h1_io::{Bytestream, H1Body, Io, Transport};
use crate::seam::{BodyLength, Field, Gone, ResponseHead, ResponseSink};
use crate::serve::serve;
use crate::thread::WireThread;
use edge_http_policy::{BodyReader, Head, Version, read_head};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Serves a connection until either side ends it.
pub async fn connection<S: Transport>(
    thread: &Rc<WireThread>,
    facts: &Arc<ConnectionFacts>,
    stream: S,
) {
    let limits = thread.limits();
    let stream = Bytestream {
        io: RefCell::new(Io::new(stream)),
        patience: Duration::from_millis(limits.body_idle_timeout_ms),
    };
    let mut served = 0;
    loop {
        let head = match next_head(thread, &stream, served == 0).await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(code) => return refuse(thread, facts, &stream, code).await,
        };
        served += 1;
        let last = served >= limits.requests_per_connection_max || !head.keep_alive;
        let turn = Turn {
            http11: head.version == Version::Http11,
            close: Cell::new(last),
            ended: Cell::new(false),
        };
        let done = Cell::new(!head.framing.has_body());
        let body = H1Body {
            stream: &stream,
            reader: BodyReader::new(head.framing),
            done: &done,
            failed: false,
        };
        let sink = H1Sink {
            thread,
            facts,
            stream: &stream,
            turn: &turn,
            chunked: false,
        };
        serve(thread, facts, head, body, sink).await;
        if !turn.ended.get() {
            return stream.io.borrow().abort();
        }
        if turn.close.get() || !done.get() {
            return stream.close().await;
        }
        stream.io.borrow_mut().rest();
    }
}

/// The next request's head. `None`: the client has no further request, or none in time.
async fn next_head<S: Transport>(
    thread: &WireThread,
    stream: &Bytestream<S>,
    first: bool,
) -> Result<Option<Head>, ErrorCode> {
    let limits = thread.limits();
    let idle = if first {
        limits.header_timeout_ms
    } else {
        limits.keep_alive_idle_timeout_ms
    };
    let mut begun = false;
    let mut deadline = None;
    loop {
        {
            let input = &mut stream.io.borrow_mut().input;
            if let Some(head) = read_head(input, &limits.head())? {
                return Ok(Some(head));
            }
            if !input.is_empty() && !begun {
                (begun, deadline) = (true, None);
            }
        }
        let ms = if begun {
            limits.header_timeout_ms
        } else {
            idle
        };
        let until = deadline.get_or_insert_with(|| thread.timers.after(Duration::from_millis(ms)));
        tokio::select! {
            biased;
            filled = stream.fill() => match filled {
                Ok(1..) => {}
                _ => return Ok(None),
            },
            () = until => {
                return if begun { Err(ErrorCode::HeaderTimeout) } else { Ok(None) };
            }
        }
    }
}

/// Answers a request that is none, and closes: nobody can tell where the next one begins.
async fn refuse<S: Transport>(
    thread: &WireThread,
    facts: &ConnectionFacts,
    stream: &Bytestream<S>,
    code: ErrorCode,
) {
    {
        let io = stream.io.borrow();
        let line = io
            .input
            .as_ref()
            .split(|byte| matches!(byte, b'\r' | b'\n'))
            .next();
        thread.refuse(facts, Version::Http11, code, line.unwrap_or_default());
    }
    let Some(answer) = thread.shared.answer(code) else {
        return;
    };
    let head = ResponseHead {
        status: answer.status,
        headers: answer.headers.clone(),
        body: BodyLength::Known(answer.body.len() as u64),
    };
    stream.queue(|output| {
        write_head(
            output,
            &head,
            &Framing {
                http11: true,
                close: true,
                alt_svc: "",
            },
        );
        output.extend_from_slice(&answer.body);
    });
    if stream.flush().await.is_ok() {
        stream.close().await;
    }
}

/// One exchange's part of the connection's state.
struct Turn {
    http11: bool,
    close: Cell<bool>,
    /// The response was sent to its end.
    ended: Cell<bool>,
}

struct H1Sink<'a, S> {
    thread: &'a WireThread,
    facts: &'a ConnectionFacts,
    stream: &'a Bytestream<S>,
    turn: &'a Turn,
    chunked: bool,
}

impl<S: Transport> ResponseSink for H1Sink<'_, S> {
    async fn interim(&mut self, status: u16, _headers: Vec<Field>) -> Result<(), Gone> {
        if !self.turn.http11 || status != 100 {
            return Ok(());
        }
        self.stream
            .queue(|output| output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
        self.stream.flush().await
    }

    async fn head(&mut self, head: ResponseHead) -> Result<(), Gone> {
        let turn = self.turn;
        self.chunked = is_chunked(head.body, turn.http11);
        if self.thread.shared.draining() || (head.body == BodyLength::Unknown && !turn.http11) {
            turn.close.set(true);
        }
        let listener = self
            .thread
            .shared
            .config
            .listeners
            .get(self.facts.listener as usize);
        let alt_svc = match listener {
            Some(listener) if self.facts.tls => listener.alt_svc.as_str(),
            _ => "",
        };
        let framing = Framing {
            http11: turn.http11,
            close: turn.close.get(),
            alt_svc,
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
        if self.chunked {
            self.stream
                .queue(|output| output.extend_from_slice(b"0\r\n\r\n"));
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
        self.stream.closed().await;
    }
}
