//! What must hold for any bytes at all. The fuzz targets (native/fuzz) and the bounded run in CI
//! (tests/invariants.rs) call the same functions; a broken promise is a panic.
#![allow(clippy::panic, clippy::expect_used)]

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::bodies::content_coding::{DecodeError, DecodeLimits, Encoded, Extent, decode};
use crate::bodies::{Arguments, Body, ParseLimits, json, multipart, urlencoded, xml};
use crate::store::Store;
use crate::transformations::Transformation;
use crate::variable::Slot;

const ARGUMENTS_MAX: usize = 50;
const DECODED_BYTES_MAX: usize = 64 * 1024;

/// A body processor or a content coding, chosen by the first byte, over the rest.
pub fn fuzz_body(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    match kind % 8 {
        0 | 1 => json_body(body),
        2 | 3 => xml_body(body),
        4 => multipart_body(body),
        5 => form_body(body),
        _ => encoded_body(body),
    }
}

fn limits() -> ParseLimits {
    ParseLimits {
        arguments_max: ARGUMENTS_MAX,
        json_depth_max: 64,
        ..ParseLimits::default()
    }
}

/// A store that holds the body.
fn held(body: &[u8]) -> (Store, Bytes, crate::store::Text) {
    let mut store = Store::default();
    let bytes = Bytes::copy_from_slice(body);
    let text = store.hold_request_body(bytes.clone());
    (store, bytes, text)
}

/// Every entry names bytes that are there, and there are not too many arguments.
fn check_entries(store: &Store) {
    for entry in store.entries() {
        for text in [entry.name, entry.value] {
            assert_eq!(
                store.bytes(text).len(),
                text.len(),
                "a text beyond its buffer"
            );
        }
    }
    let slots = [Slot::ArgsGet, Slot::ArgsPost, Slot::ArgsBody];
    let arguments = store.entries().iter();
    let arguments = arguments.filter(|entry| slots.contains(&entry.slot));
    assert!(arguments.count() <= ARGUMENTS_MAX);
}

/// Takes what serde_json takes, but for the bounds.
fn json_body(body: &[u8]) {
    let (mut store, bytes, text) = held(body);
    let document = Body {
        bytes: &bytes,
        text,
    };
    let outcome = json::parse(&mut store, document, &mut Arguments::default(), &limits());
    check_entries(&store);
    let bound = |reason: &String| reason.contains("too deep") || reason.contains("too long");
    if std::str::from_utf8(body).is_err() {
        assert!(outcome.is_err(), "no UTF-8, but taken");
    } else if !outcome.as_ref().is_err_and(bound) {
        let other = serde_json::from_slice::<IgnoredAny>(body);
        assert_eq!(outcome.is_ok(), other.is_ok(), "{outcome:?} {other:?}");
    }
}

/// A document that is taken has a root, and is taken again inside another element.
fn xml_body(body: &[u8]) {
    let (mut store, bytes, text) = held(body);
    let document = Body {
        bytes: &bytes,
        text,
    };
    let outcome = xml::parse(&mut store, document, &limits());
    check_entries(&store);
    let plain = body.starts_with(b"<") && !body.starts_with(b"<?") && !body.starts_with(b"<\0");
    if outcome.is_err() {
        return;
    }
    assert!(store.entries().iter().any(|entry| entry.slot == Slot::Xml));
    if plain {
        let wrapped = [b"<root>".as_slice(), body, b"</root>"].concat();
        let (mut store, bytes, text) = held(&wrapped);
        let document = Body {
            bytes: &bytes,
            text,
        };
        let outcome = xml::parse(&mut store, document, &limits());
        let deep = |reason: &String| reason.starts_with("nesting too deep");
        assert!(
            outcome.as_ref().is_ok() || outcome.as_ref().is_err_and(deep),
            "{outcome:?}"
        );
    }
}

/// The first line is the Content-Type.
fn multipart_body(body: &[u8]) {
    let cut = memchr::memchr(b'\n', body).unwrap_or(0);
    let (content_type, rest) = body.split_at_checked(cut).unwrap_or_default();
    let (mut store, bytes, text) = held(rest.get(1..).unwrap_or_default());
    let form = (
        content_type,
        Body {
            bytes: &bytes,
            text,
        },
    );
    let outcome = multipart::parse(&mut store, form, &mut Arguments::default(), &limits());
    check_entries(&store);
    let strict = store.first(Slot::MultipartStrictError);
    assert!(
        outcome.is_ok() || strict == Some(b"1"),
        "an error that no flag shows"
    );
}

/// As many arguments as there are pieces, and nothing else goes missing.
fn form_body(body: &[u8]) {
    let (mut store, _, text) = held(body);
    let mut arguments = Arguments::default();
    let pair = (text, Slot::ArgsPost);
    urlencoded::parse(&mut store, pair, &mut arguments, &limits());
    check_entries(&store);
    let last = usize::from(body.last().is_some_and(|byte| *byte != b'&'));
    let pieces = body.iter().filter(|byte| **byte == b'&').count() + last;
    assert_eq!(store.entries().len(), pieces.min(ARGUMENTS_MAX));
    assert_eq!(arguments.over_limit, pieces > ARGUMENTS_MAX);
}

/// The first byte is the coding. What is decoded whole is no longer than allowed, and begins with
/// what its beginning gives.
fn encoded_body(body: &[u8]) {
    let Some((coding, stream)) = body.split_first() else {
        return;
    };
    let fields = [
        "gzip",
        "deflate",
        "br",
        "zstd",
        "gzip, deflate",
        "br,zstd,gzip",
    ];
    let field = fields.get(usize::from(*coding) % fields.len());
    let bytes = Bytes::copy_from_slice(stream);
    let limits = DecodeLimits {
        body_bytes_max: DECODED_BYTES_MAX,
        ..DecodeLimits::default()
    };
    let of = |bytes: &Bytes, extent| {
        let field = field.map_or(b"".as_slice(), |field| field.as_bytes());
        decode(
            &Encoded {
                field,
                bytes,
                extent,
            },
            &limits,
        )
    };
    let prefix = of(&bytes, Extent::Prefix);
    match of(&bytes, Extent::Whole) {
        Ok(whole) => {
            assert!(whole.len() <= DECODED_BYTES_MAX);
            assert_eq!(prefix.as_ref(), Ok(&whole));
            let longer = Bytes::from([stream, b"\0"].concat());
            let more = of(&longer, Extent::Whole);
            assert!(stream.is_empty() || more.is_err(), "bytes behind the end");
        }
        Err(DecodeError::TooLarge) if !field.is_some_and(|field| field.contains(',')) => {
            assert_eq!(prefix.map(|prefix| prefix.len()), Ok(DECODED_BYTES_MAX));
        }
        Err(_) => {}
    }
}

/// No transformation makes a text much longer.
const GROWTH: usize = 4;
const GROWTH_BYTES: usize = 24;

/// Twice is the same as once.
const IDEMPOTENT: [&str; 12] = [
    "none",
    "lowercase",
    "uppercase",
    "removenulls",
    "replacenulls",
    "removewhitespace",
    "compresswhitespace",
    "trim",
    "trimleft",
    "trimright",
    "parityzero7bit",
    "replacecomments",
];

/// One undoes the other.
const INVERSE: [(&str, &str); 5] = [
    ("urlencode", "urldecode"),
    ("urlencode", "urldecodeuni"),
    ("hexencode", "hexdecode"),
    ("base64encode", "base64decode"),
    ("base64encode", "base64decodeext"),
];

/// Every transformation over one text.
pub fn fuzz_transformations(text: &[u8]) {
    for name in Transformation::names() {
        let result = run(name, text);
        assert!(
            result.len() <= text.len() * GROWTH + GROWTH_BYTES,
            "{name} grew"
        );
        let changed = matches!(result, Cow::Owned(_));
        assert_eq!(
            changed,
            *result != *text,
            "{name} copied, or changed in place"
        );
        assert_eq!(result, run(name, text), "{name} twice");
    }
    for name in IDEMPOTENT {
        let once = run(name, text);
        assert_eq!(run(name, &once), once, "{name} of itself");
    }
    for (encode, decode) in INVERSE {
        assert_eq!(
            *run(decode, &run(encode, text)),
            *text,
            "{decode} of {encode}"
        );
    }
}

fn run<'a>(name: &str, text: &'a [u8]) -> Cow<'a, [u8]> {
    let transformation = Transformation::from_name(name).expect(name);
    transformation.apply(Cow::Borrowed(text))
}
