//! Content codings: what is decoded, and what is refused.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::super::content_coding::{DecodeError, DecodeLimits, Encoded, Extent, decode};

const TEXT: &[u8] = b"a=<script>&b=1";
/// `TEXT` in Brotli and Zstandard (the latter without and with a checksum), by Node's zlib.
const BROTLI: &str = "8b0680613d3c7363726970743e26623d3103";
const ZSTD: &str = "28b52ffd200e710000613d3c7363726970743e26623d31";
const ZSTD_SUMMED: &str = "28b52ffd240e710000613d3c7363726970743e26623d316e79394c";
/// 12 MiB of zeros.
const BROTLI_BOMB: &str = "cbffff3ff82700e2b14020f7fe2fffff7ff04f00c4611180eefd0f";

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn decoded(field: &str, body: &[u8], limits: &DecodeLimits) -> Result<Bytes, DecodeError> {
    let encoded = Encoded {
        field: field.as_bytes(),
        bytes: &Bytes::copy_from_slice(body),
        extent: Extent::Whole,
    };
    decode(&encoded, limits)
}

#[test]
fn every_coding_is_undone() {
    let twice = [gzip(b"a=<script>"), gzip(b"&b=1")].concat();
    let frames = [unhex(ZSTD_SUMMED), unhex(ZSTD)].concat();
    let cases = [
        ("", TEXT.to_vec()),
        ("identity", TEXT.to_vec()),
        ("gzip", gzip(TEXT)),
        ("X-GZip", gzip(TEXT)),
        ("gzip", twice),
        ("deflate", zlib(TEXT)),
        ("deflate", deflate(TEXT)),
        ("br", unhex(BROTLI)),
        ("zstd", unhex(ZSTD)),
        ("zstd", unhex(ZSTD_SUMMED)),
        ("deflate , gzip", gzip(&zlib(TEXT))),
        ("br,gzip,deflate", zlib(&gzip(&unhex(BROTLI)))),
    ];
    for (field, body) in cases {
        let seen = decoded(field, &body, &DecodeLimits::default());
        assert_eq!(seen.as_deref(), Ok(TEXT), "{field}");
    }
    let seen = decoded("zstd", &frames, &DecodeLimits::default()).unwrap();
    assert_eq!(seen, [TEXT, TEXT].concat());
    let nothing = decoded("rot13", b"", &DecodeLimits::default());
    assert_eq!(nothing.as_deref(), Ok(&b""[..]));
}

#[test]
fn what_is_not_decoded_whole_is_refused() {
    use DecodeError::{Broken, TooManyCodings, Trailing, UnknownCoding};
    let cut = |mut body: Vec<u8>| {
        body.pop();
        body
    };
    let more = |mut body: Vec<u8>| {
        body.push(b'x');
        body
    };
    let mut wrong_sum = unhex(ZSTD_SUMMED);
    *wrong_sum.last_mut().unwrap() ^= 1;
    let mut wrong_crc = gzip(TEXT);
    wrong_crc[20] ^= 1;
    let cases = [
        ("compress", TEXT.to_vec(), UnknownCoding),
        ("gzip, aws-chunked", gzip(TEXT), UnknownCoding),
        ("gzip;q=1", gzip(TEXT), UnknownCoding),
        ("gzip,gzip,gzip,gzip", gzip(TEXT), TooManyCodings),
        ("gzip", TEXT.to_vec(), Broken),
        ("gzip", cut(gzip(TEXT)), Broken),
        ("gzip", wrong_crc, Broken),
        ("gzip", more(gzip(TEXT)), Trailing),
        ("deflate", cut(zlib(TEXT)), Broken),
        ("deflate", cut(deflate(TEXT)), Broken),
        ("deflate", more(zlib(TEXT)), Trailing),
        ("deflate", more(deflate(TEXT)), Trailing),
        ("br", cut(unhex(BROTLI)), Broken),
        ("br", more(unhex(BROTLI)), Trailing),
        ("br", TEXT.to_vec(), Broken),
        ("zstd", cut(unhex(ZSTD)), Broken),
        ("zstd", more(unhex(ZSTD)), Trailing),
        ("zstd", wrong_sum, Broken),
        ("zstd", TEXT.to_vec(), Broken),
    ];
    for (field, body, error) in cases {
        let seen = decoded(field, &body, &DecodeLimits::default());
        assert_eq!(seen, Err(error), "{field} {}", body.escape_ascii());
    }
}

#[test]
fn bombs_end_at_their_bounds() {
    let zeros = vec![0; 12 << 20];
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("br", unhex(BROTLI_BOMB)),
        ("gzip,gzip", gzip(&gzip(&zeros))),
    ];
    for (field, bomb) in &bombs {
        let seen = decoded(field, bomb, &DecodeLimits::default());
        assert_eq!(seen, Err(DecodeError::TooLarge), "{field}");
    }
    let roomy = DecodeLimits {
        body_bytes_max: 12 << 20,
        ratio_max: 1_000_000,
        ..DecodeLimits::default()
    };
    assert_eq!(
        decoded("br", &bombs[2].1, &roomy).map(|body| body.len()),
        Ok(12 << 20)
    );
    let small = DecodeLimits {
        body_bytes_max: 13,
        ..DecodeLimits::default()
    };
    assert_eq!(
        decoded("gzip", &gzip(TEXT), &small),
        Err(DecodeError::TooLarge)
    );
    // Up to 1 MiB the ratio does not count.
    let spaces = gzip(&vec![b' '; 1 << 20]);
    assert!(decoded("gzip", &spaces, &DecodeLimits::default()).is_ok());
}

#[test]
fn decoded_bodies_share_one_memory() {
    let limits = DecodeLimits {
        bodies_bytes_max: 0,
        ..DecodeLimits::default()
    };
    let exhausted = Err(DecodeError::BudgetExhausted);
    assert_eq!(decoded("gzip", &gzip(TEXT), &limits), exhausted);
    // What was counted for it is given back: with other tests at work the sum stays far below.
    for _ in 0..100 {
        let body = decoded(
            "gzip",
            &gzip(&vec![b' '; 1 << 20]),
            &DecodeLimits::default(),
        );
        assert_eq!(body.map(|body| body.len()), Ok(1 << 20));
    }
}

#[test]
fn the_beginning_of_a_body_gives_its_beginning() {
    let body = gzip(&vec![b' '; 1 << 20]);
    let bytes = Bytes::from(body).slice(..500);
    let of = |extent, body_bytes_max| {
        let encoded = Encoded {
            field: b"gzip",
            bytes: &bytes,
            extent,
        };
        let limits = DecodeLimits {
            body_bytes_max,
            ..DecodeLimits::default()
        };
        decode(&encoded, &limits).map(|body| body.len())
    };
    assert_eq!(of(Extent::Whole, 1 << 20), Err(DecodeError::Broken));
    assert!(of(Extent::Received, 1 << 20).is_ok_and(|len| len > 10_000));
    assert_eq!(of(Extent::Received, 100), Err(DecodeError::TooLarge));
    assert_eq!(of(Extent::Prefix, 100), Ok(100));
}
