//! Frames: a length of four bytes (of what follows it), a kind, the number of the exchange, and
//! what the kind needs. Numbers are little-endian; a text is its length and its bytes.

use crate::exchange::{ConnectionFacts, Exchange, ResponseFacts};
use crate::record::Extent;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use edge_http_policy::{Doubts, Framing, Head, Header, Version};

/// Changes with the layout of frames and with what TypeScript puts into them.
pub const MAGIC: &[u8] = b"EDGEWAF1";

/// Kinds: proxy to service.
pub const ASK: u8 = 1;
pub const BODY: u8 = 2;
pub const RESPONSE: u8 = 3;
pub const RESPONSE_BODY: u8 = 4;
pub const END: u8 = 5;
/// Service to proxy.
pub const VERDICT: u8 = 16;
pub const FAILED: u8 = 17;
pub const LEAVING: u8 = 18;
/// Both know the secret.
pub const HELLO: u8 = 32;
pub const PROOF: u8 = 33;
pub const WELCOME: u8 = 34;

/// The kind and the number.
const FIXED: usize = 5;
/// A body goes in pieces, so that those of others go between them.
pub const PIECE_BYTES_MAX: usize = 64 * 1024;

/// The other side does not speak as agreed: the connection ends.
#[derive(Debug, PartialEq, Eq)]
pub struct BadFrame;

/// One frame, its content still laid out.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub id: u32,
    pub content: Bytes,
}

/// Takes the next whole frame off `buffer`.
pub fn next(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Frame>, BadFrame> {
    let Some(length) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length < FIXED || length > bytes_max {
        return Err(BadFrame);
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    buffer.advance(4);
    let mut content = buffer.split_to(length).freeze();
    let (kind, id) = (content.get_u8(), content.get_u32_le());
    Ok(Some(Frame { kind, id, content }))
}

/// Writes one frame; `content` appends what it holds.
pub fn put(out: &mut BytesMut, kind: u8, id: u32, content: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32_le(0);
    out.put_u8(kind);
    out.put_u32_le(id);
    content(out);
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

fn put_text(out: &mut BytesMut, text: &[u8]) {
    out.put_u32_le(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text);
}

fn put_fields<'a>(out: &mut BytesMut, fields: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>) {
    out.put_u32_le(u32::try_from(fields.len()).unwrap_or(u32::MAX));
    for (name, value) in fields {
        put_text(out, name);
        put_text(out, value);
    }
}

const FLAG_TLS: u8 = 1;
const FLAG_CONTINUE: u8 = 2;
const FLAG_UPGRADE: u8 = 4;
const FLAG_WEBSOCKET: u8 = 8;
const FLAG_EARLY: u8 = 16;
const FLAG_QUERY: u8 = 32;
const FLAG_BODY_FOLLOWS: u8 = 64;

/// What the service is asked: the worker's words, and the head as this proxy read it.
pub fn put_ask(out: &mut BytesMut, question: &[u8], exchange: &Exchange, body_follows: bool) {
    let (head, connection) = (&exchange.head, &exchange.connection);
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    put_text(out, question);
    out.put_u8(head.version as u8);
    out.put_u8(
        flag(connection.tls, FLAG_TLS)
            | flag(head.expect_continue, FLAG_CONTINUE)
            | flag(head.upgrade, FLAG_UPGRADE)
            | flag(head.websocket, FLAG_WEBSOCKET)
            | flag(head.early, FLAG_EARLY)
            | flag(head.query.is_some(), FLAG_QUERY)
            | flag(body_follows, FLAG_BODY_FOLLOWS),
    );
    out.put_u32_le(head.doubts.0);
    let (framing, length) = match head.framing {
        Framing::None => (0, 0),
        Framing::Length(length) => (1, length),
        Framing::Chunked => (2, 0),
        Framing::UntilEnd => (3, 0),
    };
    out.put_u8(framing);
    out.put_u64_le(length);
    out.put_u32_le(connection.listener);
    out.put_u32_le(connection.certificate);
    out.put_u16_le(connection.local_port);
    put_text(out, connection.peer.to_string().as_bytes());
    for text in [
        &*connection.sni,
        &head.method,
        &head.target,
        &head.path,
        head.query.as_deref().unwrap_or_default(),
        &head.authority,
    ] {
        put_text(out, text);
    }
    let fields = head.headers.iter();
    put_fields(out, fields.map(|field| (&*field.name, &*field.value)));
}

/// A question as the service reads it.
pub struct Ask {
    pub question: Bytes,
    pub head: Head,
    pub connection: ConnectionFacts,
    /// The body comes without being asked for.
    pub body_follows: bool,
}

/// Reads what `put_ask` wrote.
pub fn read_ask(content: Bytes) -> Result<Ask, BadFrame> {
    let mut reader = Reader(content);
    let question = reader.text()?;
    let version = match reader.u8()? {
        10 => Version::Http10,
        11 => Version::Http11,
        20 => Version::Http2,
        30 => Version::Http3,
        _ => return Err(BadFrame),
    };
    let flags = reader.u8()?;
    let doubts = Doubts(reader.u32()?);
    let framing = match (reader.u8()?, reader.u64()?) {
        (0, _) => Framing::None,
        (1, length) => Framing::Length(length),
        (2, _) => Framing::Chunked,
        (3, _) => Framing::UntilEnd,
        _ => return Err(BadFrame),
    };
    let (listener, certificate, local_port) = (reader.u32()?, reader.u32()?, reader.u16()?);
    let peer = reader.text()?;
    let peer = std::str::from_utf8(&peer).map_err(|_| BadFrame)?;
    let facts = ConnectionFacts::new(listener, peer.parse().map_err(|_| BadFrame)?, local_port);
    let sni = reader.text()?;
    let is_tls = flags & FLAG_TLS != 0;
    let connection = match is_tls {
        true => facts.secured(sni, certificate),
        false => facts,
    };
    let (method, target, path) = (reader.text()?, reader.text()?, reader.text()?);
    let (query, authority) = (reader.text()?, reader.text()?);
    let headers = reader.fields()?.into_iter();
    let head = Head {
        version,
        method,
        target,
        path,
        query: (flags & FLAG_QUERY != 0).then_some(query),
        authority,
        headers: headers
            .map(|(name, value)| Header { name, value })
            .collect(),
        framing,
        doubts,
        expect_continue: flags & FLAG_CONTINUE != 0,
        keep_alive: true,
        upgrade: flags & FLAG_UPGRADE != 0,
        websocket: flags & FLAG_WEBSOCKET != 0,
        early: flags & FLAG_EARLY != 0,
    };
    reader.end()?;
    Ok(Ask {
        question,
        head,
        connection,
        body_follows: flags & FLAG_BODY_FOLLOWS != 0,
    })
}

/// The backend's response; what of its body is shown comes in RESPONSE_BODY frames.
pub fn put_response(out: &mut BytesMut, facts: &ResponseFacts, extent: Extent) {
    out.put_u16_le(facts.status);
    out.put_u8(extent as u8);
    let fields = facts.headers.iter();
    put_fields(out, fields.map(|(name, value)| (&**name, &**value)));
}

pub fn read_response(content: Bytes) -> Result<(ResponseFacts, Extent), BadFrame> {
    let mut reader = Reader(content);
    let (status, extent) = (reader.u16()?, Extent::of(reader.u8()?).ok_or(BadFrame)?);
    let headers = reader.fields()?;
    reader.end()?;
    Ok((ResponseFacts { status, headers }, extent))
}

/// Content of BODY (`note`: its status) and RESPONSE_BODY (`note`: its extent).
pub struct Piece {
    pub is_last: bool,
    pub note: u8,
    pub bytes: Bytes,
}

pub fn read_piece(content: Bytes) -> Result<Piece, BadFrame> {
    let mut reader = Reader(content);
    let (is_last, note) = (reader.u8()? != 0, reader.u8()?);
    Ok(Piece {
        is_last,
        note,
        bytes: reader.0,
    })
}

/// Content of END: the status that the client got, and whether the rest is wanted.
pub fn read_end(content: Bytes) -> Result<(u16, bool), BadFrame> {
    let mut reader = Reader(content);
    let end = (reader.u16()?, reader.u8()? != 0);
    reader.end()?;
    Ok(end)
}

/// Reads numbers and texts; never beyond the end.
pub struct Reader(pub Bytes);

impl Reader {
    fn room(&self, bytes: usize) -> Result<(), BadFrame> {
        match self.0.len() >= bytes {
            true => Ok(()),
            false => Err(BadFrame),
        }
    }

    pub fn u8(&mut self) -> Result<u8, BadFrame> {
        self.room(1).map(|()| self.0.get_u8())
    }

    pub fn u16(&mut self) -> Result<u16, BadFrame> {
        self.room(2).map(|()| self.0.get_u16_le())
    }

    pub fn u32(&mut self) -> Result<u32, BadFrame> {
        self.room(4).map(|()| self.0.get_u32_le())
    }

    pub fn u64(&mut self) -> Result<u64, BadFrame> {
        self.room(8).map(|()| self.0.get_u64_le())
    }

    fn text(&mut self) -> Result<Bytes, BadFrame> {
        let length = self.u32()? as usize;
        self.room(length).map(|()| self.0.split_to(length))
    }

    fn fields(&mut self) -> Result<Vec<(Bytes, Bytes)>, BadFrame> {
        let count = self.u32()? as usize;
        // Each takes its two lengths: a count that lies reserves nothing.
        self.room(count.checked_mul(8).ok_or(BadFrame)?)?;
        (0..count)
            .map(|_| Ok((self.text()?, self.text()?)))
            .collect()
    }

    fn end(&self) -> Result<(), BadFrame> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(BadFrame),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use std::sync::Arc;

    fn exchange() -> Exchange {
        let field = |name: &'static str, value: &'static str| Header {
            name: name.into(),
            value: value.into(),
        };
        let head = Head {
            version: Version::Http2,
            method: "POST".into(),
            target: "/a?b=\u{1}".into(),
            path: "/a".into(),
            query: Some("b=\u{1}".into()),
            authority: "x.example".into(),
            headers: vec![field("Host", "x.example"), field("x", "")],
            framing: Framing::Length(7),
            doubts: Doubts::NUL,
            expect_continue: true,
            keep_alive: true,
            upgrade: false,
            websocket: false,
            early: true,
        };
        let peer = "[2001:db8::1]:4711".parse().unwrap();
        let facts = ConnectionFacts::new(1, peer, 443).secured("sni.example".into(), 3);
        Exchange::new(head, Arc::new(facts), 0, Arc::new(Budget::new(0)))
    }

    #[test]
    fn a_question_arrives_as_it_was_asked() {
        let asked = exchange();
        let mut out = BytesMut::new();
        put(&mut out, ASK, 9, |out| put_ask(out, b"{}", &asked, true));
        let frame = next(&mut out, 1024).unwrap().unwrap();
        assert_eq!((frame.kind, frame.id), (ASK, 9));
        let read = read_ask(frame.content).unwrap();
        assert_eq!(format!("{:?}", read.head), format!("{:?}", asked.head));
        let connection = format!("{:?}", read.connection);
        assert_eq!(connection, format!("{:?}", *asked.connection));
        assert_eq!(&*read.question, b"{}");
        assert!(read.body_follows);
    }

    #[test]
    fn every_cut_of_a_question_is_refused() {
        let mut out = BytesMut::new();
        put_ask(&mut out, b"{}", &exchange(), false);
        let whole = out.freeze();
        assert!(read_ask(whole.clone()).is_ok());
        for cut in 0..whole.len() {
            assert!(read_ask(whole.slice(..cut)).is_err(), "{cut}");
        }
        let longer = [&*whole, b"x"].concat();
        assert!(read_ask(longer.into()).is_err());
    }

    #[test]
    fn every_cut_of_a_response_is_refused() {
        let facts = ResponseFacts {
            status: 200,
            headers: vec![("a".into(), "b".into())],
        };
        let mut out = BytesMut::new();
        put_response(&mut out, &facts, Extent::Whole);
        let whole = out.freeze();
        let (read, extent) = read_response(whole.clone()).unwrap();
        assert_eq!((read.status, extent), (200, Extent::Whole));
        assert_eq!(read.headers, facts.headers);
        for cut in 0..whole.len() {
            assert!(read_response(whole.slice(..cut)).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_frame_is_taken_whole_or_not_at_all_and_never_beyond_its_limit() {
        let mut whole = BytesMut::new();
        put(&mut whole, BODY, 1, |out| out.put_slice(&[1, 0, 7]));
        for cut in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..cut]);
            assert_eq!(next(&mut part, 64), Ok(None));
            assert_eq!(part.len(), cut);
        }
        let mut same = whole.clone();
        assert_eq!(next(&mut same, 7), Err(BadFrame));
        let frame = next(&mut whole, 8).unwrap().unwrap();
        let piece = read_piece(frame.content).unwrap();
        assert!(piece.is_last && piece.note == 0 && *piece.bytes == [7]);
        let mut short = BytesMut::from(&[4, 0, 0, 0, 1, 2, 3, 4][..]);
        assert_eq!(next(&mut short, 64), Err(BadFrame));
    }
}
