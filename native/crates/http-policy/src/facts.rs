//! What the fields of one head say about framing and the connection, gathered in one pass.

use crate::syntax::{content_length, is_token, list};
use crate::{Doubts, Framing, Header, Refusal, Version, trusted, websocket};
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
    websocket_field: bool,
    pub doubts: Doubts,
}

impl Facts {
    /// Whether the client asked to change the protocol.
    pub fn upgrade(&self) -> bool {
        self.connection_upgrade && self.upgrade_field
    }

    /// Whether the client asked for a WebSocket, well or badly.
    pub fn websocket(&self) -> bool {
        self.connection_upgrade && self.websocket_field
    }

    /// Reads one valid field line; refuses what makes framing or ownership doubtful.
    pub fn add(&mut self, version: Version, header: &Header) -> Result<(), Refusal> {
        let name = header.name.as_ref();
        if memchr::memchr(b'_', name).is_some() {
            if trusted::is_imitation(name) {
                return Err(Refusal::BadRequest("name looks like a trusted one"));
            }
            self.doubts.add(Doubts::UNDERSCORE_NAME);
        }
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is(b"host") => self.add_host(&header.value),
            6 if is(b"expect") => self.add_expect(version, &header.value),
            7 if is(b"upgrade") => {
                self.add_upgrade(&header.value);
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
            if !is_token(option) {
                return Err(Refusal::BadRequest("connection option is not a token"));
            }
            if trusted::is_protected(option) {
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

    fn add_upgrade(&mut self, value: &[u8]) {
        for protocol in list(value) {
            self.upgrade_field = true;
            // `websocket/13` is no registered protocol, but somebody may read it as one.
            let name = protocol.split(|byte| *byte == b'/').next();
            self.websocket_field |=
                name.is_some_and(|name| name.eq_ignore_ascii_case(websocket::PROTOCOL));
        }
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
