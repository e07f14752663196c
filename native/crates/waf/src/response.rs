//! The variables that the upstream's response gives.

use bytes::Bytes;

use crate::store::Store;
use crate::variable::Slot;

/// Fills status and headers.
pub fn fill<'a>(
    store: &mut Store,
    (protocol, status): (&str, u16),
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) {
    let line = store.concat(&[protocol.as_bytes(), b" ", status.to_string().as_bytes()]);
    store.set_text(Slot::StatusLine, line);
    store.set_text(Slot::ResponseProtocol, line.part(0, protocol.len()));
    store.set_text(
        Slot::ResponseStatus,
        line.part(protocol.len() + 1, line.len()),
    );
    for (name, value) in headers {
        let name_text = store.copy(name);
        let value_text = store.copy(value);
        store.push(Slot::ResponseHeaders, name_text, value_text);
        if name.eq_ignore_ascii_case(b"content-type") {
            // Without its parameters, as in ModSecurity v3.
            let end = memchr::memchr(b';', value).unwrap_or(value.len());
            store.set_text(Slot::ResponseContentType, value_text.part(0, end));
        } else if name.eq_ignore_ascii_case(b"content-length") {
            store.set_text(Slot::ResponseContentLength, value_text);
        }
    }
}

/// Fills the body, without copying it. `complete` is false when there is more than was read.
pub fn fill_body(store: &mut Store, body: Bytes, complete: bool) {
    store.set(Slot::OutboundDataError, if complete { b"0" } else { b"1" });
    let length = store.number(body.len() as u64);
    store.set_text(Slot::ResponseContentLength, length);
    let text = store.hold_response_body(body);
    store.set_text(Slot::ResponseBody, text);
}
