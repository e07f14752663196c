//! A request of an HTTP/2 connection on its way to `serve`.

use crate::error_code::ErrorCode;
use crate::exchange::ConnectionFacts;
use crate::h2_body::H2Body;
use crate::h2_link::{Link, Stream};
use crate::h2_sink::{H2Sink, send_head};
use crate::seam::{BodyLength, Field, ResponseHead};
use crate::serve::serve;
use crate::thread::WireThread;
use edge_h2::Reason;
use edge_http_policy::{Framing, Head, Refusal, Version, head_from_fields};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A decoded field section.
pub struct Request {
    pub stream: u32,
    pub fields: Vec<Field>,
    pub ended: bool,
    pub too_large: bool,
}

/// Method and path, for the record of a refusal.
fn line(fields: &[Field]) -> Vec<u8> {
    let find = |wanted: &[u8]| fields.iter().find(|(name, _)| *name == *wanted);
    let value = |name| find(name).map_or(&b""[..], |(_, value)| &value[..]);
    [value(b":method"), b" ", value(b":path")].concat()
}

/// Serves a request as a task of its own, or refuses it.
pub fn accept(
    thread: &Rc<WireThread>,
    facts: &Arc<ConnectionFacts>,
    link: &Rc<Link>,
    request: Request,
) {
    let limits = thread.limits();
    let Request {
        stream,
        fields,
        ended,
        too_large,
    } = request;
    let copies = fields.iter().cloned(); // reference counts only; a refusal shows the line
    let head = match too_large {
        true => Err(Refusal::HeaderTooLarge),
        false => head_from_fields(Version::Http2, copies, ended, &limits.head()),
    };
    let head = match head {
        Ok(head) => head,
        Err(refusal) => {
            let code = ErrorCode::from(refusal);
            thread.refuse(facts, Version::Http2, code, &line(&fields));
            return refuse(thread, link, stream, (refusal, code));
        }
    };
    let expected = match head.framing {
        Framing::Length(length) => Some(length),
        _ => None,
    };
    link.codec.borrow_mut().expect_length(stream, expected);
    let stream = Rc::new(Stream::new(stream, ended));
    let opened = link.open(stream.clone());
    let (on, facts, link) = (thread.clone(), facts.clone(), link.clone());
    thread.spawn(async move {
        // All frames of a turn are taken before the first of its requests runs: one that was taken
        // back, or broken, by then is nobody's work any more (rapid reset, CVE-2023-44487).
        if stream.is_lost() {
            on.shared.stats.withdrawn.add(1);
        } else {
            // Boxed: a spawned task is moved several times, and most of its size is this.
            Box::pin(exchange(&on, &facts, (&link, &stream), head)).await;
        }
        drop(opened);
    });
}

async fn exchange(
    thread: &Rc<WireThread>,
    facts: &Arc<ConnectionFacts>,
    (link, stream): (&Rc<Link>, &Rc<Stream>),
    head: Head,
) {
    let limits = thread.limits();
    let patience = Duration::from_millis(limits.body_idle_timeout_ms);
    let body = H2Body::new(link, stream, &head, (&thread.timers, limits));
    let listener = thread.shared.config.listeners.get(facts.listener as usize);
    let sink = H2Sink {
        link: link.clone(),
        stream: stream.clone(),
        timers: thread.timers.clone(),
        left: None,
        ended: false,
        patience,
        alt_svc: listener.map_or("", |listener| &listener.alt_svc),
    };
    serve(thread, facts, head, body, sink).await;
}

/// Ends a stream that reaches no exchange. Malformed: a stream error (RFC 9113 §8.1.1). Well-formed
/// but over a limit: the client is told.
fn refuse(thread: &WireThread, link: &Link, stream: u32, (refusal, code): (Refusal, ErrorCode)) {
    let mut codec = link.codec.borrow_mut();
    let answer = match refusal {
        Refusal::BadRequest(_) => None,
        _ => thread.shared.answer(code),
    };
    let Some(answer) = answer else {
        codec.refuse(stream, Instant::now());
        return codec.release(stream);
    };
    let head = ResponseHead {
        status: answer.status,
        headers: answer.headers.clone(),
        body: BodyLength::Known(answer.body.len() as u64),
    };
    let fits = codec
        .room(stream)
        .is_ok_and(|room| room >= answer.body.len());
    let sent = fits && send_head(&mut codec, stream, &head, "").is_ok();
    if sent && !answer.body.is_empty() {
        let _ = codec.send_data(stream, answer.body.clone(), true);
    }
    if !sent {
        codec.reset(stream, Reason::EnhanceYourCalm);
    }
    codec.release(stream);
}
