//! Response heads as HTTP/3 fields.

use crate::h1_head::{put_decimal, with_date};
use crate::seam::{BodyLength, ResponseHead};
use bytes::{Bytes, BytesMut};
use edge_http_policy::{is_field_value, is_token};

/// quiche's encoder takes them as they are and writes names in lower case.
pub(super) use crate::seam::Field;

/// The fields of an interim response.
pub(super) fn interim(status: u16) -> Vec<Field> {
    vec![(Bytes::from_static(b":status"), decimal(u64::from(status)))]
}

/// The fields of a final response: status first, then those given, content-length and date.
pub(super) fn fields(head: ResponseHead) -> Vec<Field> {
    let mut fields = Vec::with_capacity(head.headers.len() + 3);
    fields.push((Bytes::from_static(b":status"), status(head.status)));
    let mut dated = false;
    for (name, value) in head.headers {
        // An HTTP/3 client takes a malformed field for a broken message, so it is left out.
        if is_token(&name) && is_field_value(&value) {
            dated |= name.eq_ignore_ascii_case(b"date");
            fields.push((name, value));
        }
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
    }
}
