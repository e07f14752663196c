//! The response before its client sees any of it: shown to the worker, and held until it decided.
//!
//! The worker is told once, with everything it will want: of a media type that the plan lists, the
//! head goes together with the body. What it cannot have known beforehand (a rule of phase 3 that
//! switches inspection on) it asks for.

use crate::client::{Client, Failure};
use crate::error_code::ErrorCode;
use crate::exchange::{HeldResponse, ResponseFacts};
use crate::plan::{Edit, Forward, Hold, Inspect, Plan, Respond};
use crate::record::{Extent, Record};
use crate::relay::next_piece;
use crate::seam::{Field, ResponseSink};
use crate::serve::Run;
use crate::upstream::{ResponseFraming, ResponseSource};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// What the worker decided.
pub enum Verdict {
    Pass(Vec<Edit>, Held),
    Replace(Respond),
}

/// Body pieces read for inspection.
#[derive(Default)]
pub struct Held {
    pub pieces: VecDeque<Bytes>,
    /// The body ended with them.
    pub ended: bool,
    bytes: usize,
}

impl Held {
    /// The first `max` bytes; one piece, as most bodies are, is not copied. False: no room.
    fn show(&self, run: &Run<'_>, max: usize) -> Result<Extent, ErrorCode> {
        let length = self.bytes.min(max);
        let complete = self.ended && self.bytes <= max;
        let bytes = match self.pieces.front() {
            Some(piece) if piece.len() >= length => piece.slice(..length),
            _ if !run.exchange.reserve(length as u64) => {
                return Err(ErrorCode::BodyBudgetExhausted);
            }
            _ => {
                let mut whole = BytesMut::with_capacity(self.bytes);
                self.pieces
                    .iter()
                    .for_each(|piece| whole.extend_from_slice(piece));
                whole.truncate(length);
                whole.freeze()
            }
        };
        let body = HeldResponse { bytes, complete };
        let _ = run.exchange.response_body.set(body);
        Ok(match complete {
            true => Extent::Whole,
            false => Extent::Beginning,
        })
    }
}

/// Shows the response to the worker.
pub async fn inspect<R: ResponseSource, S: ResponseSink>(
    run: &Run<'_>,
    plan: &Forward,
    (facts, framing): (ResponseFacts, ResponseFraming),
    source: &mut R,
    client: &mut Client<S>,
) -> Result<Verdict, Failure> {
    let exchange = &run.exchange;
    let mut held = Held {
        ended: framing == ResponseFraming::None,
        ..Held::default()
    };
    let mut broken = None;
    let extent = match wanted(plan, &facts.headers) {
        None => Extent::Unread,
        Some(hold) if hold.rejects_longer && is_longer(framing, hold) => Extent::TooLong,
        Some(hold) => {
            let max = hold.bytes_max as usize;
            match collect(run, plan, max, source, client, &mut held).await {
                Ok(extent) => extent,
                Err(Failure::Gone) => return Err(Failure::Gone),
                // Phase 3 may still refuse by the head: then that is what the client gets.
                Err(Failure::Code(code)) => {
                    broken = Some(code);
                    Extent::Unread
                }
            }
        }
    };
    let _ = exchange.response_head.set(facts);
    let shown = exchange.clone();
    tell(run, |handle| Record::Response {
        handle,
        exchange: shown,
        extent,
    })?;
    loop {
        match run.decision(client).await? {
            Plan::PassResponse(edits) => return Ok(Verdict::Pass(edits, held)),
            Plan::Respond(respond) => return Ok(Verdict::Replace(respond)),
            Plan::Ask(question) => run.ask(question, client).await?,
            Plan::ReadResponseBody { max } if exchange.response_body.get().is_none() => {
                if let Some(code) = broken {
                    return Err(code.into());
                }
                let max = max as usize;
                let extent = collect(run, plan, max, source, client, &mut held).await?;
                tell(run, |handle| Record::ResponseBody { handle, extent })?;
            }
            _ => return Err(ErrorCode::Internal.into()),
        }
    }
}

/// Tells the worker, which cannot be replaced any more: another one knows nothing of the request.
fn tell(run: &Run<'_>, record: impl FnOnce(u32) -> Record) -> Result<(), Failure> {
    let Some(seat) = run.exchange.mailbox.inspect() else {
        return Err(ErrorCode::WafUnavailable.into());
    };
    run.tell(Some(seat), record);
    Ok(())
}

/// How the body is held if the worker will want it, as far as the head tells.
fn wanted<'a>(plan: &'a Forward, headers: &[Field]) -> Option<&'a Hold> {
    match &plan.inspect {
        Inspect::Body(hold) if is_listed(headers, &hold.media_types) => Some(hold),
        _ => None,
    }
}

/// A response without a media type counts as `null`, which SecResponseBodyMimeType may list.
fn is_listed(headers: &[Field], media_types: &[u8]) -> bool {
    let is_type = |field: &&Field| field.0.eq_ignore_ascii_case(b"content-type");
    let media_type = match headers.iter().find(is_type) {
        Some((_, value)) => value.split(|byte| *byte == b';').next().unwrap_or_default(),
        None => b"null",
    };
    let media_type = media_type.trim_ascii();
    !media_type.is_empty()
        && media_types
            .split(|byte| *byte == b' ')
            .any(|listed| listed.eq_ignore_ascii_case(media_type))
}

fn is_longer(framing: ResponseFraming, hold: &Hold) -> bool {
    matches!(framing, ResponseFraming::Length(length) if length > u64::from(hold.bytes_max))
}

/// Reads the response's body until it ends or exceeds `max`, and puts it where the worker sees it.
async fn collect<R: ResponseSource, S: ResponseSink>(
    run: &Run<'_>,
    plan: &Forward,
    max: usize,
    source: &mut R,
    client: &mut Client<S>,
    held: &mut Held,
) -> Result<Extent, Failure> {
    while !held.ended && held.bytes <= max {
        let Some(piece) = next_piece(run, plan, source, client).await? else {
            held.ended = true;
            break;
        };
        if !run.exchange.reserve(piece.len() as u64) {
            return Err(ErrorCode::BodyBudgetExhausted.into());
        }
        held.bytes += piece.len();
        held.pieces.push_back(piece);
    }
    Ok(held.show(run, max)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_media_type_is_found_whatever_its_case_and_parameters() {
        let cases: [(Option<&str>, &str, bool); 9] = [
            (Some("text/html"), "text/plain text/html", true),
            (
                Some("Text/HTML; charset=utf-8"),
                "text/plain text/html",
                true,
            ),
            (Some(" text/plain "), "text/plain text/html", true),
            (Some("text/htm"), "text/plain text/html", false),
            (Some("text/html2"), "text/plain text/html", false),
            (Some(""), "", false),
            (None, "text/html null", true),
            (None, "text/html", false),
            (Some("text/event-stream"), "text/html", false),
        ];
        for (value, listed, expected) in cases {
            let server = ("server".into(), "x".into());
            let media_type = value.map(|value| ("Content-Type".into(), Bytes::from(value)));
            let headers: Vec<Field> = [server].into_iter().chain(media_type).collect();
            assert_eq!(
                is_listed(&headers, listed.as_bytes()),
                expected,
                "{value:?}"
            );
        }
    }

    #[test]
    fn only_an_announced_length_is_known_to_be_longer() {
        let hold = Hold {
            bytes_max: 9,
            rejects_longer: true,
            media_types: Bytes::new(),
        };
        assert!(is_longer(ResponseFraming::Length(10), &hold));
        assert!(!is_longer(ResponseFraming::Length(9), &hold));
        assert!(!is_longer(ResponseFraming::Unknown, &hold));
        assert!(!is_longer(ResponseFraming::None, &hold));
    }
}
