//! Request heads from HTTP/3 fields.

use crate::config::WireLimits;
use bytes::{Bytes, BytesMut};
use edge_http_policy::{Refusal, TrailerLimits};
use quiche::h3::{Header, NameValue, Priority};

/// The fields in one allocation, in the order received.
pub(super) fn fields(list: &[Header]) -> impl Iterator<Item = (Bytes, Bytes)> {
    let length = list
        .iter()
        .map(|field| field.name().len() + field.value().len())
        .sum();
    let mut block = BytesMut::with_capacity(length);
    for field in list {
        block.extend_from_slice(field.name());
        block.extend_from_slice(field.value());
    }
    let mut rest = block.freeze();
    list.iter().map(move |field| {
        let name = rest.split_to(field.name().len().min(rest.len()));
        (name, rest.split_to(field.value().len().min(rest.len())))
    })
}

/// Method and path, for the record of a refusal.
pub(super) fn line(list: &[Header]) -> Vec<u8> {
    let find = |name: &[u8]| list.iter().find(|field| field.name() == name);
    let value = |name: &[u8]| find(name).map(NameValue::value).unwrap_or_default();
    [value(b":method"), b" ", value(b":path")].concat()
}

/// The trailers of a request (RFC 9114 §4.1).
pub(super) fn trailers(
    list: &[Header],
    limits: &WireLimits,
) -> Result<Vec<(Bytes, Bytes)>, Refusal> {
    let limits = TrailerLimits {
        count_max: limits.trailer_count_max,
        bytes_max: limits.trailer_bytes_max,
    };
    edge_http_policy::trailers(fields(list), &limits)
}

/// The client's wish (RFC 9218): `u=0…7`, `i`. Anything else in the field is ignored.
pub(super) fn priority(value: &[u8]) -> Priority {
    let (mut urgency, mut incremental) = (3, false);
    for member in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        match member {
            [b'u', b'=', digit @ b'0'..=b'7'] => urgency = digit - b'0',
            b"i" | b"i=?1" => incremental = true,
            b"i=?0" => incremental = false,
            _ => {}
        }
    }
    Priority::new(urgency, incremental)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_read_and_nonsense_ignored() {
        let cases: [(&str, u8, bool); 7] = [
            ("", 3, false),
            ("u=5", 5, false),
            ("u=0, i", 0, true),
            ("i", 3, true),
            ("i=?0,u=7", 7, false),
            ("u=8", 3, false),
            ("x=1;u=2", 3, false),
        ];
        for (value, urgency, incremental) in cases {
            assert_eq!(
                priority(value.as_bytes()),
                Priority::new(urgency, incremental),
                "{value}"
            );
        }
    }

    #[test]
    fn fields_keep_their_order() {
        let list = [
            Header::new(b":method", b"GET"),
            Header::new(b"a", b""),
            Header::new(b"b", b"c"),
        ];
        let got: Vec<_> = fields(&list).collect();
        let pair =
            |name: &'static str, value: &'static str| (Bytes::from(name), Bytes::from(value));
        assert_eq!(got, [pair(":method", "GET"), pair("a", ""), pair("b", "c")]);
        assert_eq!(line(&list), b"GET ");
    }

    #[test]
    fn trailers_hold_no_pseudo_fields_and_have_limits() {
        let limits = crate::quic::test_edge::limits();
        let check = |list: &[Header]| trailers(list, &limits);
        assert!(check(&[Header::new(b"x-sum", b"1")]).is_ok());
        assert!(check(&[Header::new(b":path", b"/")]).is_err());
        assert!(check(&[Header::new(b"X-Sum", b"1")]).is_err());
        assert_eq!(
            check(&vec![Header::new(b"x", b"1"); 17]),
            Err(Refusal::TrailersTooLarge)
        );
    }
}
