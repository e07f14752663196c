//! Records as words and text. Layout: proxy/batch.ts.

use crate::ask::Told;
use crate::exchange::Exchange;
use crate::known_headers::index_of;
use crate::record::{Extent, Outcome, Record, Refused};
use bytes::Bytes;

const FLAG_BODY: u32 = 1;
const FLAG_TLS: u32 = 2;
const FLAG_CONTINUE: u32 = 4;
const FLAG_UPGRADE: u32 = 8;
const FLAG_ORPHAN: u32 = 16;
const FLAG_QUERY: u32 = 32;
const FLAG_WEBSOCKET: u32 = 64;
const FLAG_EARLY: u32 = 128;
const KNOWN_NAME: u32 = 1 << 31;

/// A batch being laid out. Kept by the port, so that its memory is used again.
#[derive(Debug, Default)]
pub struct Batch {
    words: Vec<u8>,
    text: Vec<u8>,
}

/// Lengths are bounded by configuration far below 2^32.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

impl Batch {
    /// Adds one record.
    pub fn push(&mut self, record: &Record) {
        match record {
            Record::Head {
                handle,
                attempt,
                exchange,
            } => {
                self.question(&exchange.question);
                self.head(*handle, *attempt, 0, exchange);
            }
            Record::Body {
                handle,
                status,
                bytes,
            } => self.words(&[2, *handle, *status, *bytes]),
            Record::Outcome { handle, outcome } => self.outcome(*handle, outcome),
            Record::Response {
                handle,
                exchange,
                extent,
            } => self.response(*handle, exchange, *extent),
            Record::ResponseBody { handle, extent } => {
                self.words(&[5, *handle, *extent as u32]);
            }
            Record::Refused(refused) => self.refused(refused),
            Record::Verdict { handle, told } => self.verdict(*handle, told),
            Record::End { handle, status } => self.words(&[9, *handle, u32::from(*status)]),
            Record::Orphan {
                handle,
                exchange,
                outcome,
            } => {
                self.question(&exchange.question);
                self.head(*handle, 1, FLAG_ORPHAN, exchange);
                self.outcome(*handle, outcome);
            }
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Bytes that `write` needs.
    pub fn size(&self) -> usize {
        8 + self.words.len() + self.text.len()
    }

    /// Writes the batch to the front of `out` and empties it; false when it does not fit.
    pub fn write(&mut self, out: &mut [u8]) -> bool {
        let word_count = length(&self.words) / 4;
        let Some((counts, rest)) = out.split_at_mut_checked(8) else {
            return false;
        };
        let Some((words, rest)) = rest.split_at_mut_checked(self.words.len()) else {
            return false;
        };
        let Some(text) = rest.get_mut(..self.text.len()) else {
            return false;
        };
        let (first, second) = counts.split_at_mut(4);
        first.copy_from_slice(&word_count.to_le_bytes());
        second.copy_from_slice(&length(&self.text).to_le_bytes());
        words.copy_from_slice(&self.words);
        text.copy_from_slice(&self.text);
        self.words.clear();
        self.text.clear();
        true
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.words.extend_from_slice(&word.to_le_bytes());
        }
    }

    fn head(&mut self, handle: u32, attempt: u32, extra_flags: u32, exchange: &Exchange) {
        let (head, connection) = (&exchange.head, &exchange.connection);
        let query: &[u8] = head.query.as_deref().unwrap_or_default();
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        let flags = head.doubts.0
            | extra_flags
            | flag(head.framing.has_body(), FLAG_BODY)
            | flag(connection.tls, FLAG_TLS)
            | flag(head.expect_continue, FLAG_CONTINUE)
            | flag(head.upgrade, FLAG_UPGRADE)
            | flag(head.query.is_some(), FLAG_QUERY)
            | flag(head.websocket, FLAG_WEBSOCKET)
            | flag(head.early, FLAG_EARLY);
        self.words(&[
            1,
            handle,
            flags,
            head.version as u32,
            connection.listener,
            connection.certificate,
            u32::from(connection.peer.port()),
            u32::from(connection.local_port),
            attempt,
            length(&head.method),
            length(&head.target),
            length(&head.path),
            length(query),
            length(&head.authority),
            length(&connection.sni),
            length(&connection.peer_text),
            u32::try_from(head.headers.len()).unwrap_or(u32::MAX),
        ]);
        for piece in [
            &*head.method,
            &head.target,
            &head.path,
            query,
            &head.authority,
        ] {
            self.text.extend_from_slice(piece);
        }
        self.text.extend_from_slice(&connection.sni);
        self.text.extend_from_slice(&connection.peer_text);
        for header in &head.headers {
            let name_word = match index_of(&header.name) {
                Some(index) => KNOWN_NAME | index,
                None => {
                    self.text.extend_from_slice(&header.name);
                    length(&header.name)
                }
            };
            self.words(&[name_word, length(&header.value)]);
            self.text.extend_from_slice(&header.value);
        }
    }

    fn outcome(&mut self, handle: u32, outcome: &Outcome) {
        let [request_low, request_high] = halves(outcome.request_body_bytes);
        let [response_low, response_high] = halves(outcome.response_body_bytes);
        self.words(&[
            3,
            handle,
            u32::from(outcome.status),
            outcome.error.map_or(0, |code| code as u32 + 1),
            outcome
                .endpoint
                .map_or(0, |endpoint| endpoint.saturating_add(1)),
            outcome.attempts,
            request_low,
            request_high,
            response_low,
            response_high,
            outcome.duration_us,
            outcome.first_byte_us,
            u32::from(outcome.client_aborted) | u32::from(outcome.head_sent) << 1,
            outcome
                .failed_first
                .map_or(0, |(endpoint, _)| endpoint.saturating_add(1)),
            outcome.failed_first.map_or(0, |(_, code)| code as u32 + 1),
        ]);
    }

    fn response(&mut self, handle: u32, exchange: &Exchange, extent: Extent) {
        let Some(facts) = exchange.response_head.get() else {
            return;
        };
        let count = u32::try_from(facts.headers.len()).unwrap_or(u32::MAX);
        self.words(&[4, handle, u32::from(facts.status), extent as u32, count]);
        for (name, value) in &facts.headers {
            self.words(&[length(name), length(value)]);
            self.text.extend_from_slice(name);
            self.text.extend_from_slice(value);
        }
    }

    /// Of the head that follows.
    fn question(&mut self, question: &Bytes) {
        if !question.is_empty() {
            self.words(&[8, length(question)]);
            self.text.extend_from_slice(question);
        }
    }

    fn verdict(&mut self, handle: u32, told: &Told) {
        match told {
            Told::Verdict(text) => {
                self.words(&[7, handle, 0, length(text)]);
                self.text.extend_from_slice(text);
            }
            Told::Failed(code) => self.words(&[7, handle, *code as u32 + 1, 0]),
        }
    }

    fn refused(&mut self, refused: &Refused) {
        let Refused {
            code,
            version,
            status,
            listener,
            peer,
            peer_port,
            line,
        } = refused;
        self.words(&[
            6,
            *code as u32,
            *version as u32,
            *listener,
            u32::from(*status),
            u32::from(*peer_port),
            length(peer),
            length(line),
        ]);
        self.texts(&[peer, line]);
    }

    fn texts(&mut self, pieces: &[&Bytes]) {
        for piece in pieces {
            self.text.extend_from_slice(piece);
        }
    }
}

fn halves(value: u64) -> [u32; 2] {
    let low = u32::try_from(value & 0xffff_ffff).unwrap_or(u32::MAX);
    [low, u32::try_from(value >> 32).unwrap_or(u32::MAX)]
}
