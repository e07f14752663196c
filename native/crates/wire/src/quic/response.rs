//! Response heads as HTTP/3 fields.

use crate::h1_head::{put_decimal, with_date};
use crate::seam::{BodyLength, ResponseHead};
use bytes::{Bytes, BytesMut};
use edge_http_policy::{is_field_value, is_token};

/// quiche's encoder takes them as they are and writes names in lower case.
pub(super) use crate::seam::Field;

/// The fields of an interim response.
pub(super) fn interim(status: u16, headers: Vec<Field>) -> Vec<Field> {
    let mut fields = Vec::with_capacity(headers.len() + 1);
    fields.push((Bytes::from_static(b":status"), decimal(u64::from(status))));
    fields.extend(headers.into_iter().filter(is_sound));
    fields
}

/// The fields that end a response.
pub(super) fn trailers(fields: Vec<Field>) -> Vec<Field> {
    fields.into_iter().filter(is_sound).collect()
}

/// An HTTP/3 client takes a malformed field for a broken message, so it is left out.
fn is_sound((name, value): &Field) -> bool {
    is_token(name) && is_field_value(value)
}

/// The fields of a final response: status first, then those given, content-length and date.
pub(super) fn fields(head: ResponseHead) -> Vec<Field> {
    let mut fields = Vec::with_capacity(head.headers.len() + 3);
    let code = match head.body {
        // RFC 9220 §3: the answer that opens a tunnel is 200 here, where HTTP/1.1 says 101.
        BodyLength::Tunnel => 200,
        _ => head.status,
    };
    fields.push((Bytes::from_static(b":status"), status(code)));
    let mut dated = false;
    for field in head.headers.into_iter().filter(is_sound) {
        dated |= field.0.eq_ignore_ascii_case(b"date");
        fields.push(field);
    }
    if let BodyLength::Known(length) | BodyLength::Announced(length) = head.body {
        fields.push((Bytes::from_static(b"content-length"), decimal(length)));
    }
    if !dated {
        fields.push((
            Bytes::from_static(b"date"),
            with_date(Bytes::copy_from_slice),
        ));
    }
    fields
}

fn status(status: u16) -> Bytes {
    match status {
        200 => Bytes::from_static(b"200"),
        403 => Bytes::from_static(b"403"),
        404 => Bytes::from_static(b"404"),
        _ => decimal(u64::from(status)),
    }
}

fn decimal(number: u64) -> Bytes {
    let mut text = BytesMut::with_capacity(20);
    put_decimal(&mut text, number);
    text.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(head: ResponseHead) -> Vec<String> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let joined = |(name, value): &Field| match name.as_ref() {
            b"date" => "date".to_owned(),
            _ => format!("{}={}", text(name), text(value)),
        };
        fields(head).iter().map(joined).collect()
    }

    #[test]
    fn framing_and_date_are_added_and_bad_fields_left_out() {
        let header = |name: &'static str, value: &'static str| (name.into(), value.into());
        let headers = vec![
            header("Server", "x"),
            header("a b", "c"),
            header("d", "e\r\nf: g"),
        ];
        let head = ResponseHead {
            status: 503,
            headers,
            body: BodyLength::Known(12),
        };
        assert_eq!(
            names(head),
            [":status=503", "Server=x", "content-length=12", "date"]
        );
        let headers = vec![header("Date", "today")];
        let head = ResponseHead {
            status: 204,
            headers,
            body: BodyLength::None,
        };
        assert_eq!(names(head), [":status=204", "Date=today"]);
        let head = ResponseHead {
            status: 101,
            headers: vec![header("date", "today")],
            body: BodyLength::Tunnel,
        };
        assert_eq!(names(head), [":status=200", "date"]);
    }
}
