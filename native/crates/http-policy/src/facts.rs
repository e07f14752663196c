//! What the fields of one head say about framing and the connection, gathered in one pass.

use crate::syntax::{content_length, list};
use crate::{Doubts, Framing, Header, Refusal, Version};
use bytes::Bytes;

/// Facts gathered from field lines.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub host: Option<Bytes>,
    pub content_length: Option<u64>,
    pub chunked: bool,
    pub expect_continue: bool,
    pub close: bool,
    pub keep_alive: bool,
    connection_upgrade: bool,
    upgrade_field: bool,
    pub doubts: Doubts,
}

/// Fields that the edge or the backend trusts: a client must not have them removed as hop-by-hop.
const PROTECTED: [&[u8]; 9] = [
    b"host",
    b"cookie",
    b"authorization",
    b"content-length",
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-real-ip",
];

impl Facts {
    /// Whether the client asked to change the protocol.
    pub fn upgrade(&self) -> bool {
        self.connection_upgrade && self.upgrade_field
    }

    /// Reads one valid field line; refuses what makes framing or ownership doubtful.
    pub fn add(&mut self, version: Version, header: &Header) -> Result<(), Refusal> {
        let name = header.name.as_ref();
        if memchr::memchr(b'_', name).is_some() {
            self.doubts.add(Doubts::UNDERSCORE_NAME);
        }
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is(b"host") => self.add_host(&header.value),
            6 if is(b"expect") => self.add_expect(version, &header.value),
            7 if is(b"upgrade") => {
                self.upgrade_field |= !header.value.is_empty();
                Ok(())
            }
            10 if is(b"connection") => self.add_connection(&header.value),
            14 if is(b"content-length") => self.add_content_length(&header.value),
            17 if is(b"transfer-encoding") => self.add_transfer_encoding(&header.value),
            _ => Ok(()),
        }
    }

    /// How an HTTP/1.x body is framed (RFC 9112 §6.3); everything it calls doubtful is refused.
    pub fn http1_framing(&self, version: Version) -> Result<Framing, Refusal> {
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err(Refusal::BadRequest(
                "content-length beside transfer-encoding",
            )),
            (true, None) if version == Version::Http10 => {
                Err(Refusal::BadRequest("transfer-encoding on HTTP/1.0"))
            }
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::None),
        }
    }

    fn add_host(&mut self, value: &Bytes) -> Result<(), Refusal> {
        if self.host.replace(value.clone()).is_some() {
            return Err(Refusal::BadRequest("more than one host field"));
        }
        Ok(())
    }

    fn add_expect(&mut self, version: Version, value: &[u8]) -> Result<(), Refusal> {
        // RFC 9110 §10.1.1: an expectation in an HTTP/1.0 request is ignored.
        if version == Version::Http10 {
            return Ok(());
        }
        if self.expect_continue || !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::ExpectationFailed);
        }
        self.expect_continue = true;
        Ok(())
    }

    fn add_connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for option in list(value) {
            let is = |known: &[u8]| option.eq_ignore_ascii_case(known);
            if PROTECTED.iter().any(|name| is(name)) {
                return Err(Refusal::BadRequest(
                    "connection names a field that must not be dropped",
                ));
            }
            self.close |= is(b"close");
            self.keep_alive |= is(b"keep-alive");
            self.connection_upgrade |= is(b"upgrade");
        }
        Ok(())
    }

    fn add_content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self
            .content_length
            .replace(content_length(value)?)
            .is_some()
        {
            return Err(Refusal::BadRequest("more than one content-length field"));
        }
        Ok(())
    }

    fn add_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::BadRequest(
                "transfer-encoding is not exactly chunked",
            ));
        }
        self.chunked = true;
        Ok(())
    }
}
