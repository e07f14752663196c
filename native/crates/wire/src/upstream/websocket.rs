//! The opening of a WebSocket towards an endpoint, which is always HTTP/1.1 (RFC 6455 §4).

use super::UpstreamHead;
use boring::base64::encode_block;
use boring::rand::rand_bytes;
use boring::sha::sha1;
use bytes::Bytes;
use edge_http_policy::{Head, Version};

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What of an opening the wire answers for itself.
pub struct Handshake {
    /// Sent as Sec-WebSocket-Key: the client's, or our own for an extended CONNECT, which has none.
    pub key: Bytes,
}

impl Handshake {
    pub fn new(head: &Head) -> Option<Handshake> {
        if head.version == Version::Http11 {
            let key = head.header("sec-websocket-key").next()?.clone();
            return Some(Handshake { key });
        }
        let mut nonce = [0_u8; 16];
        rand_bytes(&mut nonce).ok()?;
        let key = Bytes::from(encode_block(&nonce));
        Some(Handshake { key })
    }

    /// Whether a 101 agrees to this opening and to nothing else (RFC 6455 §4.1).
    pub fn is_accepted(&self, head: &UpstreamHead) -> bool {
        let accept = encode_block(&sha1(&[&self.key, GUID].concat()));
        only(head, b"sec-websocket-accept").is_some_and(|value| *value == *accept.as_bytes())
            && only(head, b"upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
            && values(head, b"connection").any(|value| {
                value
                    .split(|byte| *byte == b',')
                    .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
            })
    }
}

fn values<'a>(head: &'a UpstreamHead, name: &'static [u8]) -> impl Iterator<Item = &'a Bytes> {
    head.headers
        .iter()
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn only<'a>(head: &'a UpstreamHead, name: &'static [u8]) -> Option<&'a Bytes> {
    let mut values = values(head, name);
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::ResponseFraming;

    fn head(fields: &[(&'static str, &'static str)]) -> UpstreamHead {
        let headers = fields
            .iter()
            .map(|(name, value)| (Bytes::from(*name), Bytes::from(*value)));
        UpstreamHead {
            status: 101,
            headers: headers.collect(),
            framing: ResponseFraming::None,
            announced: None,
        }
    }

    #[test]
    fn only_the_accept_of_the_own_key_counts() {
        // The example of RFC 6455 §1.3.
        let key = Bytes::from("dGhlIHNhbXBsZSBub25jZQ==");
        let opening = Handshake { key };
        let right = ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let (upgrade, connection) = (("upgrade", "WebSocket"), ("connection", "x, Upgrade"));
        assert!(opening.is_accepted(&head(&[right, upgrade, connection])));
        let wrong = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo");
        for fields in [
            vec![wrong, upgrade, connection],
            vec![upgrade, connection],
            vec![right, connection],
            vec![right, upgrade],
            vec![right, ("upgrade", "h2c"), connection],
            vec![right, right, upgrade, connection],
        ] {
            assert!(!opening.is_accepted(&head(&fields)), "{fields:?}");
        }
    }
}
