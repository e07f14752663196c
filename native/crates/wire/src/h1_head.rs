//! The head of an HTTP/1.1 response, and the date every response carries.

use crate::seam::{BodyLength, Field, ResponseHead};
use bytes::{BufMut, BytesMut};
use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

/// Room made at once, so that most responses need no second allocation.
const HEAD_BYTES_EXPECTED: usize = 512;
const BODY_BYTES_EXPECTED_MAX: usize = 16 * 1024;

/// What the connection decided about a response.
pub struct Framing<'a> {
    /// HTTP/1.1: chunked is understood and connections persist.
    pub http11: bool,
    /// The connection ends after this response.
    pub close: bool,
    /// Alt-Svc value, or ''.
    pub alt_svc: &'a str,
}

/// Whether a response of this length is chunked.
pub fn is_chunked(length: BodyLength, http11: bool) -> bool {
    http11 && length == BodyLength::Unknown
}

/// Appends an interim response (1xx) to `output`.
pub fn write_interim(output: &mut BytesMut, status: u16, fields: &[Field]) {
    put_status_line(output, status);
    fields
        .iter()
        .for_each(|(name, value)| put_field(output, name, value));
    output.put_slice(b"\r\n");
}

/// Appends the head to `output`.
pub fn write_head(output: &mut BytesMut, head: &ResponseHead, framing: &Framing<'_>) {
    let body = match head.body {
        BodyLength::Known(length) => usize::try_from(length).unwrap_or(usize::MAX),
        _ => 0,
    };
    output.reserve(HEAD_BYTES_EXPECTED + body.min(BODY_BYTES_EXPECTED_MAX));
    put_status_line(output, head.status);
    let mut dated = false;
    for (name, value) in &head.headers {
        dated |= name.eq_ignore_ascii_case(b"date");
        put_field(output, name, value);
    }
    if !dated {
        with_date(|date| put_field(output, b"date", date));
    }
    if !framing.alt_svc.is_empty() {
        put_field(output, b"alt-svc", framing.alt_svc.as_bytes());
    }
    match head.body {
        BodyLength::Known(length) | BodyLength::Announced(length) => {
            output.put_slice(b"content-length: ");
            put_decimal(output, length);
            output.put_slice(b"\r\n");
        }
        BodyLength::Unknown if framing.http11 => {
            output.put_slice(b"transfer-encoding: chunked\r\n");
        }
        BodyLength::Tunnel => {
            // RFC 6455 §4.2.2; the accept field comes with the others.
            return output.put_slice(b"upgrade: websocket\r\nconnection: Upgrade\r\n\r\n");
        }
        BodyLength::Unknown | BodyLength::None => {}
    }
    match (framing.close, framing.http11) {
        (true, _) => output.put_slice(b"connection: close\r\n"),
        (false, false) => output.put_slice(b"connection: keep-alive\r\n"),
        (false, true) => {}
    }
    output.put_slice(b"\r\n");
}

fn put_status_line(output: &mut BytesMut, status: u16) {
    output.put_slice(b"HTTP/1.1 ");
    put_decimal(output, u64::from(status));
    output.put_u8(b' ');
    output.put_slice(reason(status).as_bytes());
    output.put_slice(b"\r\n");
}

/// Appends a field line.
pub fn put_field(output: &mut BytesMut, name: &[u8], value: &[u8]) {
    output.put_slice(name);
    output.put_slice(b": ");
    output.put_slice(value);
    output.put_slice(b"\r\n");
}

/// Appends `value` in decimal.
pub fn put_decimal(output: &mut BytesMut, value: u64) {
    output.put_slice(decimal(value, &mut [0; 20]));
}

/// `value` in decimal, at the end of `digits`.
pub fn decimal(value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let (mut rest, mut used) = (value, 0);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    digits.get(20 - used..).unwrap_or_default()
}

/// Appends the size line of a chunk.
pub fn put_chunk_size(output: &mut BytesMut, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = u8::try_from(size >> (4 * place) & 15).unwrap_or(0);
        let first = if digit < 10 { b'0' } else { b'a' - 10 };
        output.put_u8(first + digit);
    }
    output.put_slice(b"\r\n");
}

/// The date as HTTP writes it, made once per second and thread.
pub fn with_date<R>(use_date: impl FnOnce(&[u8]) -> R) -> R {
    thread_local! {
        static DATE: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(second, text)| {
        if *second != now {
            (*second, *text) = (now, http_date(now));
        }
        use_date(text.as_bytes())
    })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = seconds / 86_400;
    let weekday = usize::try_from(days % 7)
        .ok()
        .and_then(|day| DAYS.get(day))
        .unwrap_or(&"Thu");
    // Days since 0000-03-01, in eras of 400 years; March first puts the leap day last.
    let shifted = days + 719_468;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 2
    } else {
        shifted_month - 10
    };
    let year = year_of_era + shifted / 146_097 * 400 + u64::from(month < 2);
    let name = usize::try_from(month)
        .ok()
        .and_then(|month| MONTHS.get(month))
        .unwrap_or(&"Jan");
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {day:02} {name} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

fn reason(status: u16) -> &'static str {
    let known = http::StatusCode::from_u16(status).ok();
    known
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_the_rfc_writes_them() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn chunk_sizes() {
        for size in [0, 9, 10, 15, 16, 255, 4096, 65_535, usize::MAX] {
            let mut output = BytesMut::new();
            put_chunk_size(&mut output, size);
            assert_eq!(output, format!("{size:x}\r\n").as_bytes());
        }
    }

    #[test]
    fn interim_responses_and_tunnels() {
        let field = |name: &'static str, value: &'static str| (name.into(), value.into());
        let mut output = BytesMut::new();
        write_interim(&mut output, 103, &[field("link", "</a.css>")]);
        assert_eq!(
            output,
            &b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"[..]
        );
        output.clear();
        let head = ResponseHead {
            status: 101,
            headers: vec![field("date", "now"), field("sec-websocket-accept", "x")],
            body: BodyLength::Tunnel,
        };
        let framing = Framing {
            http11: true,
            close: true,
            alt_svc: "",
        };
        write_head(&mut output, &head, &framing);
        assert_eq!(
            output,
            &b"HTTP/1.1 101 Switching Protocols\r\ndate: now\r\nsec-websocket-accept: x\r\n\
               upgrade: websocket\r\nconnection: Upgrade\r\n\r\n"[..]
        );
    }

    #[test]
    fn decimals() {
        for value in [0, 7, 10, 999, u64::MAX] {
            let mut output = BytesMut::new();
            put_decimal(&mut output, value);
            assert_eq!(output, value.to_string().as_bytes());
            let mut digits = [0; 20];
            assert_eq!(decimal(value, &mut digits), value.to_string().as_bytes());
        }
    }
}
