//! The vectors of RFC 7541 appendix C, and what must not get through.

use super::decode::{Decoder, ListLimits};
use super::encode::Encoder;
use super::huffman;
use super::table::{STATIC, Table};
use bytes::{Bytes, BytesMut};

const LIMITS: ListLimits = ListLimits {
    bytes_max: 32 * 1024,
    count_max: 100,
};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

fn decoded(decoder: &mut Decoder, block: &str) -> String {
    let section = decoder.decode(&hex(block), &LIMITS).unwrap();
    let line = |(name, value): &(Bytes, Bytes)| {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        format!("{}={}", text(name), text(value))
    };
    section
        .fields
        .iter()
        .map(line)
        .collect::<Vec<_>>()
        .join(" ")
}

const FIRST: &str = ":method=GET :scheme=http :path=/ :authority=www.example.com";
const SECOND: &str =
    ":method=GET :scheme=http :path=/ :authority=www.example.com cache-control=no-cache";
const THIRD: &str = ":method=GET :scheme=https :path=/index.html :authority=www.example.com \
    custom-key=custom-value";

#[test]
fn requests_of_appendix_c3_and_c4() {
    let plain = [
        ("828684410f7777772e6578616d706c652e636f6d", FIRST),
        ("828684be58086e6f2d6361636865", SECOND),
        (
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            THIRD,
        ),
    ];
    let huffman = [
        ("828684418cf1e3c2e5f23a6ba0ab90f4ff", FIRST),
        ("828684be5886a8eb10649cbf", SECOND),
        ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", THIRD),
    ];
    for blocks in [plain, huffman] {
        let mut decoder = Decoder::default();
        for (block, expected) in blocks {
            assert_eq!(decoded(&mut decoder, block), expected);
        }
    }
}

#[test]
fn literals_of_appendix_c2() {
    let cases = [
        (
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
            "custom-key=custom-header",
        ),
        ("040c2f73616d706c652f70617468", ":path=/sample/path"),
        ("100870617373776f726406736563726574", "password=secret"),
        ("82", ":method=GET"),
    ];
    for (block, expected) in cases {
        assert_eq!(decoded(&mut Decoder::default(), block), expected);
    }
}

/// Appendix C.5: a table of 256 bytes evicts the oldest.
#[test]
fn the_dynamic_table_evicts() {
    let mut table = Table::new(256);
    let field = |name: &'static str, value: &'static str| (Bytes::from(name), Bytes::from(value));
    table.insert(field(":status", "302"));
    table.insert(field("cache-control", "private"));
    table.insert(field("date", "Mon, 21 Oct 2013 20:13:21 GMT"));
    table.insert(field("location", "https://www.example.com"));
    assert_eq!(table.bytes(), 222);
    table.insert(field(":status", "307"));
    assert_eq!(table.bytes(), 222);
    assert_eq!(table.get(62), Some(field(":status", "307")));
    assert_eq!(table.get(65), Some(field("cache-control", "private")));
    assert_eq!(table.get(66), None);
    table.resize(0);
    assert_eq!((table.bytes(), table.get(62)), (0, None));
    assert_eq!(table.get(0), None);
    assert_eq!(table.get(61), Some(field("www-authenticate", "")));
    assert_eq!(STATIC.len(), 61);
}

#[test]
fn every_byte_survives_huffman() {
    for length in [1usize, 2, 7, 256] {
        for start in 0..=255u8 {
            let text: Vec<u8> = (0..length).map(|at| start.wrapping_add(at as u8)).collect();
            let (mut bits, mut coded) = (Vec::new(), Vec::new());
            for byte in &text {
                let (code, length) = huffman::code(*byte).unwrap();
                bits.extend((0..length).rev().map(|bit| code >> bit & 1));
            }
            while !bits.len().is_multiple_of(8) {
                bits.push(1);
            }
            for chunk in bits.chunks(8) {
                coded.push(chunk.iter().fold(0u8, |byte, bit| byte << 1 | *bit as u8));
            }
            let mut output = BytesMut::new();
            assert!(huffman::decode(&coded, &mut output));
            assert_eq!(&output[..], &text[..]);
        }
    }
}

#[test]
fn what_must_not_be_decoded() {
    let cases = [
        ("80", "index 0"),
        ("be", "no such dynamic entry"),
        ("ff80808080808001", "integer over its limit"),
        ("0085", "truncated string"),
        ("00016181ff", "padding of eight ones"),
        ("0001618100", "padding of zeros"),
        ("00016184ffffffff", "the end mark"),
        ("8220", "a table size update behind a field"),
        ("3fe21f", "a table size over ours"),
        ("40", "nothing behind the first byte"),
    ];
    for (block, name) in cases {
        assert!(
            Decoder::default().decode(&hex(block), &LIMITS).is_err(),
            "{name}"
        );
    }
}

/// The HTTP/2 bomb: one long entry, then one byte for each reference to it.
#[test]
fn references_cannot_expand() {
    let mut decoder = Decoder::default();
    let mut block = hex("400161");
    block.extend([0x7f, 0xa1, 0x1e]); // 4000 = 127 + 33 + 30 * 128
    block.extend([b'x'; 4000]);
    block.extend([0xbe; 16_000]);
    let section = decoder.decode(&block, &LIMITS).unwrap();
    assert!(section.too_large);
    let kept: usize = section
        .fields
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    assert!(kept <= LIMITS.bytes_max);
    let many = decoder.decode(&[0x82; 101], &LIMITS).unwrap();
    assert!(many.too_large);
    assert_eq!(many.fields.len(), LIMITS.count_max);
    // The table is as the peer believes.
    let after = decoder.decode(&[0xbe], &LIMITS).unwrap();
    assert_eq!(after.fields[0].1.len(), 4000);
}

#[test]
fn what_is_encoded_can_be_decoded() {
    let (mut encoder, mut block) = (Encoder::default(), BytesMut::new());
    encoder.limit_table(0);
    encoder.begin(&mut block);
    encoder.status(418, &mut block);
    encoder.field(b"Set-Cookie", b"a=b", &mut block);
    encoder.field(b"X-Long", &[b'v'; 5000], &mut block);
    encoder.field(b"Content-Type", b"text/plain", &mut block);
    let section = Decoder::default().decode(&block, &LIMITS).unwrap();
    let names: Vec<_> = section
        .fields
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    assert_eq!(names, [":status", "set-cookie", "x-long", "content-type"]);
    assert_eq!(section.fields[0].1, "418");
    assert_eq!(section.fields[2].1.len(), 5000);
    assert_eq!(block[0], 0x20);
    let mut again = BytesMut::new();
    encoder.begin(&mut again);
    for status in [200, 204, 206, 304, 400, 404, 500] {
        encoder.status(status, &mut again);
        let section = Decoder::default().decode(&again, &LIMITS).unwrap();
        assert_eq!(section.fields[0].1, status.to_string());
        again.clear();
    }
}
