//! What must hold for any bytes at all. The fuzz targets (native/fuzz) and the bounded run in CI
//! (invariants.rs) call the same functions; a broken promise is a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::{Bytes, BytesMut};
use edge_http_policy::{
    BodyEvent, BodyReader, Doubts, Framing, Head, HeadLimits, Refusal, TrailerLimits, Version,
    canonical_authority, canonical_path, head_from_fields, is_field_value, is_token, read_head,
    trailers,
};

/// The defaults of `limits:`.
const LIMITS: HeadLimits = HeadLimits {
    bytes_max: 32 * 1024,
    line_bytes_max: 8 * 1024,
    count_max: 100,
};

/// A check by the name of its fuzz target.
pub type Check = fn(&[u8]);

/// Every fuzz target of this crate.
pub const ALL: [(&str, Check); 5] = [
    ("h1_head", h1_head),
    ("chunk_body", chunk_body),
    ("header_validator", header_validator),
    ("path_canonical", path_canonical),
    ("trailers", trailer_fields),
];

/// The h1 reader: takes a prefix or nothing, however the bytes come, and what it takes has one
/// meaning when it is written again.
pub fn h1_head(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    let whole = read_head(&mut buffer, &LIMITS);
    let read = match &whole {
        Ok(Some(_)) => data.len() - buffer.len(),
        _ => data.len(),
    };
    assert!(data.ends_with(&buffer), "what is left is no suffix");
    for step in [1, 7] {
        let pieces = in_pieces(data.get(..read).unwrap_or_default(), step.max(read / 64));
        assert_eq!(
            pieces.is_ok(),
            whole.is_ok(),
            "pieces and whole differ: {pieces:?} {whole:?}"
        );
    }
    if let Ok(Some(head)) = whole {
        assert!(
            data.get(..read)
                .is_some_and(|text| text.ends_with(b"\r\n\r\n"))
        );
        assert!(read <= LIMITS.bytes_max && head.headers.len() <= LIMITS.count_max);
        check_head(&head);
    }
}

/// Reads a head that comes in pieces of `step` bytes.
fn in_pieces(data: &[u8], step: usize) -> Result<Option<Head>, Refusal> {
    let mut buffer = BytesMut::new();
    for piece in data.chunks(step.max(1)) {
        buffer.extend_from_slice(piece);
        let before = buffer.len();
        if let Some(head) = read_head(&mut buffer, &LIMITS)? {
            return Ok(Some(head));
        }
        assert_eq!(
            before,
            buffer.len(),
            "bytes of an unfinished head were taken"
        );
    }
    Ok(None)
}

/// A body reader gives the same content, end and refusal however the bytes come.
pub fn chunk_body(data: &[u8]) {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let framing = match first % 8 {
        0 => Framing::Length(u64::from(*first)),
        1 => Framing::None,
        _ => Framing::Chunked,
    };
    let whole = read_body(framing, data, data.len());
    for step in [1, 5] {
        let pieces = read_body(framing, data, step.max(data.len() / 256));
        match (&whole, &pieces) {
            (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
            (Err(_), Err(_)) => {}
            _ => panic!("whole {whole:?}, pieces {pieces:?}"),
        }
    }
    let Ok(Some(body)) = whole else { return };
    assert!(body.content.len() + body.rest <= data.len());
    let again = format!("{:x}\r\n", body.content.len()).into_bytes();
    let again = match body.content.is_empty() {
        true => b"0\r\n\r\n".to_vec(),
        false => [&again[..], &body.content, b"\r\n0\r\n\r\n"].concat(),
    };
    let read = read_body(Framing::Chunked, &again, again.len());
    let read = read.expect("own chunks").expect("own end");
    assert_eq!((read.content, read.rest), (body.content, 0));
    let fields = trailers(body.trailers.iter().cloned(), &TrailerLimits::default());
    assert_eq!(fields, Ok(body.trailers));
}

#[derive(Debug, PartialEq)]
struct Body {
    content: Vec<u8>,
    trailers: Vec<(Bytes, Bytes)>,
    /// Bytes behind its end.
    rest: usize,
}

/// `None`: it did not end.
fn read_body(framing: Framing, data: &[u8], step: usize) -> Result<Option<Body>, Refusal> {
    let mut reader = BodyReader::new(framing);
    let mut input = BytesMut::new();
    let mut pieces = data.chunks(step.max(1));
    let mut content = Vec::new();
    loop {
        match reader.push(&mut input)? {
            BodyEvent::Data(piece) => {
                assert!(!piece.is_empty(), "an empty piece would look like an end");
                content.extend_from_slice(&piece);
            }
            BodyEvent::End => break,
            BodyEvent::NeedMore => match pieces.next() {
                Some(piece) => input.extend_from_slice(piece),
                None => return Ok(None),
            },
        }
    }
    assert!(reader.is_end());
    assert_eq!(reader.push(&mut input), Ok(BodyEvent::End));
    let rest = input.len() + pieces.map(<[u8]>::len).sum::<usize>();
    let trailers = reader.trailers();
    assert_eq!(reader.trailers(), []);
    Ok(Some(Body {
        content,
        trailers,
        rest,
    }))
}

/// Fields of h2 and h3: what passes can be written as one HTTP/1.1 request that means the same.
pub fn header_validator(data: &[u8]) {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let version = match first & 1 {
        0 => Version::Http2,
        _ => Version::Http3,
    };
    let end_stream = first & 2 != 0;
    let Ok(head) = head_from_fields(version, fields_of(data), end_stream, &LIMITS) else {
        return;
    };
    assert!(head.headers.len() <= LIMITS.count_max + 1, "beside host");
    assert!(!(end_stream && head.framing.has_body()));
    assert!(!head.websocket || (head.method == "GET" && head.framing == Framing::None));
    for header in &head.headers {
        let name = &header.name[..];
        assert!(!name.iter().any(u8::is_ascii_uppercase) && !name.contains(&b':'));
        let http1_only = [
            &b"connection"[..],
            b"transfer-encoding",
            b"upgrade",
            b"keep-alive",
        ];
        assert!(!http1_only.contains(&name));
    }
    check_head(&head);
}

/// `name NUL value LF` lines: neither byte can be in a valid field.
fn fields_of(data: &[u8]) -> impl Iterator<Item = (Bytes, Bytes)> {
    data.split(|byte| *byte == b'\n').map(|line| {
        let at = line.iter().position(|byte| *byte == 0);
        let (name, value) = line.split_at(at.unwrap_or(line.len()));
        let value = value.strip_prefix(b"\0").unwrap_or(value);
        (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value))
    })
}

/// A canonical path has one spelling, and so has an authority.
pub fn path_canonical(data: &[u8]) {
    let raw = Bytes::copy_from_slice(data);
    let (path, _) = canonical_path(&raw);
    check_path(&path);
    if let Some(authority) = canonical_authority(&raw) {
        assert_eq!(canonical_authority(&authority).as_ref(), Some(&authority));
        assert!(!authority.iter().any(u8::is_ascii_uppercase) && authority.is_ascii());
        assert!(!authority.contains(&b'@') && !authority.contains(&b','));
    }
}

/// Trailers that pass are valid fields within their limits, and pass again.
pub fn trailer_fields(data: &[u8]) {
    let limits = TrailerLimits::default();
    let Ok(kept) = trailers(fields_of(data), &limits) else {
        return;
    };
    assert!(kept.len() <= limits.count_max);
    let bytes = kept.iter().map(|(name, value)| name.len() + value.len());
    assert!(bytes.sum::<usize>() <= limits.bytes_max);
    for (name, value) in &kept {
        assert!(is_token(name) && is_field_value(value) && name.as_ref() != b"content-length");
    }
    assert_eq!(trailers(kept.iter().cloned(), &limits), Ok(kept));
}

fn check_path(path: &Bytes) {
    let (again, doubts) = canonical_path(path);
    assert_eq!(&again, path);
    let left = [Doubts::BAD_ESCAPE, Doubts::BACKSLASH];
    assert!(!left.into_iter().any(|doubt| doubts.has(doubt)));
    assert_eq!(path.first(), Some(&b'/'));
    assert!(
        path.iter()
            .all(|byte| byte.is_ascii_graphic() && !b"?#\\".contains(byte))
    );
    let climbs = |segment: &[u8]| matches!(segment, b"." | b"..");
    assert!(!path.split(|byte| *byte == b'/').any(climbs));
}

/// Writes an accepted head as the wire does, and reads it again: same path, host and framing.
fn check_head(head: &Head) {
    assert!(is_token(&head.method) && head.method != "CONNECT");
    if head.path != "*" {
        check_path(&head.path);
    }
    let written = write(head);
    let mut buffer = BytesMut::from(&written[..]);
    let wide = HeadLimits {
        bytes_max: usize::MAX,
        line_bytes_max: usize::MAX,
        count_max: usize::MAX,
    };
    let again = read_head(&mut buffer, &wide);
    let again = again.unwrap_or_else(|refusal| panic!("{refusal:?}: {}", written.escape_ascii()));
    let again = again.expect("a whole head");
    assert!(buffer.is_empty(), "more than one request");
    assert_eq!(again.method, head.method);
    assert_eq!((&again.path, &again.query), (&head.path, &head.query));
    assert_eq!(again.authority, head.authority);
    let framing = match head.framing {
        Framing::UntilEnd => Framing::Chunked,
        framing => framing,
    };
    assert_eq!(again.framing, framing);
}

/// As `wire/src/outbound.rs` does: hop-by-hop fields off, host and framing anew.
fn write(head: &Head) -> Vec<u8> {
    const DROPPED: [&str; 8] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let mut out = [&head.method[..], b" ", &head.path[..]].concat();
    if let Some(query) = &head.query {
        out.extend_from_slice(&[b"?", &query[..]].concat());
    }
    out.extend_from_slice(&[b" HTTP/1.1\r\nhost: ", &head.authority[..], b"\r\n"].concat());
    for header in &head.headers {
        let is = |known: &&str| header.name.eq_ignore_ascii_case(known.as_bytes());
        if !DROPPED.iter().any(|known| is(known)) && !header.name.contains(&b'_') {
            let line = [&header.name[..], b": ", &header.value[..], b"\r\n"];
            out.extend_from_slice(&line.concat());
        }
    }
    match head.framing {
        Framing::None => {}
        Framing::Length(length) => {
            out.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        Framing::Chunked | Framing::UntilEnd => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}
