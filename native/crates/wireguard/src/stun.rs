//! Answers to STUN's Binding requests (RFC 8489 §7.3.1): by what address and port the network
//! shows somebody. Nodes of the mesh learn that from a relay's answer to their probes, which only
//! its peers get; this is for those who do not know the mesh yet, such as devices of seed 000.

use bytes::BytesMut;
use std::net::{IpAddr, SocketAddr};

/// The first byte of its requests; WireGuard's messages begin with 1 to 4.
pub const FIRST: u8 = 0;
/// Answers at once, and in a second, to all addresses together: whoever gives a false address has
/// at most 44 bytes for each 20 of his own sent there.
pub const ANSWERS_AT_ONCE: f64 = 256.0;
pub const ANSWERS_PER_SECOND: f64 = 128.0;

const HEADER_BYTES: usize = 20;
/// A request that fits into any packet (RFC 8489 §6.1).
const REQUEST_BYTES_MAX: usize = 548;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const BINDING_ERROR: [u8; 2] = [0x01, 0x11];
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// From here on an attribute may be passed over by who does not know it.
const OPTIONAL_FROM: u16 = 0x8000;

/// What to answer to that address; none for what is no request of STUN's. Requests that want more
/// than their address (credentials, another port) get the error 420.
pub fn answer(request: &[u8], from: SocketAddr) -> Option<BytesMut> {
    let (head, attributes) = request.split_at_checked(HEADER_BYTES)?;
    let (kind, rest) = head.split_first_chunk::<2>()?;
    let (length, transaction) = rest.split_first_chunk::<2>()?;
    let is_request = *kind == BINDING_REQUEST
        && transaction.starts_with(&COOKIE)
        && usize::from(u16::from_be_bytes(*length)) == attributes.len()
        && request.len() <= REQUEST_BYTES_MAX;
    if !is_request {
        return None;
    }
    let unknown = unknown_of(attributes)?;
    if unknown.is_empty() {
        let address = xored(from, transaction);
        return Some(message(
            BINDING_SUCCESS,
            transaction,
            &[(XOR_MAPPED_ADDRESS, &address)],
        ));
    }
    let listed: Vec<u8> = unknown.iter().flat_map(|one| one.to_be_bytes()).collect();
    // Class 4, number 20, no reason phrase.
    let error = (ERROR_CODE, &[0, 0, 4, 20][..]);
    let attributes = [error, (UNKNOWN_ATTRIBUTES, &listed)];
    Some(message(BINDING_ERROR, transaction, &attributes))
}

/// The attributes that must be understood, and are not: all of them. None where one ends too late.
fn unknown_of(mut attributes: &[u8]) -> Option<Vec<u16>> {
    let mut unknown = Vec::new();
    while !attributes.is_empty() {
        let (kind, rest) = attributes.split_first_chunk::<2>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let padded = usize::from(u16::from_be_bytes(*length)).next_multiple_of(4);
        attributes = rest.get(padded..)?;
        let kind = u16::from_be_bytes(*kind);
        if kind < OPTIONAL_FROM && !unknown.contains(&kind) {
            unknown.push(kind);
        }
    }
    Some(unknown)
}

fn message(kind: [u8; 2], transaction: &[u8], attributes: &[(u16, &[u8])]) -> BytesMut {
    let padded = |value: &[u8]| value.len().next_multiple_of(4);
    let length: usize = attributes.iter().map(|(_, value)| 4 + padded(value)).sum();
    let mut message = BytesMut::with_capacity(HEADER_BYTES + length);
    message.extend_from_slice(&kind);
    message.extend_from_slice(&(length as u16).to_be_bytes());
    message.extend_from_slice(transaction);
    for (kind, value) in attributes {
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&(value.len() as u16).to_be_bytes());
        message.extend_from_slice(value);
        let end = message.len() + padded(value) - value.len();
        message.resize(end, 0);
    }
    message
}

/// RFC 8489 §14.2: the address under the cookie and the transaction, which no NAT takes for one.
fn xored(address: SocketAddr, transaction: &[u8]) -> Vec<u8> {
    let (family, octets) = match address.ip() {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let port = address.port().to_be_bytes();
    let mask = |octets: &[u8]| -> Vec<u8> {
        let pairs = octets.iter().zip(transaction);
        pairs.map(|(octet, mask)| octet ^ mask).collect()
    };
    [vec![0, family], mask(&port), mask(&octets)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the sample messages in RFC 5769 §2.
    const TRANSACTION: &str = "b7e7a701bc34d686fa87dfae";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pairs = digits
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).expect("ASCII"));
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).expect("two digits"))
            .collect()
    }

    fn request(attributes: &str) -> Vec<u8> {
        let attributes = bytes(attributes);
        let length = u16::try_from(attributes.len()).expect("a short one");
        let head = [
            bytes("0001"),
            length.to_be_bytes().to_vec(),
            bytes("2112a442"),
        ]
        .concat();
        [head, bytes(TRANSACTION), attributes].concat()
    }

    fn told(request: &[u8], from: &str) -> Option<Vec<u8>> {
        answer(request, from.parse().expect("an address")).map(|answer| answer.to_vec())
    }

    #[test]
    fn the_addresses_of_rfc_5769_are_told_as_it_says() {
        let v4 = "0101 000c 2112a442 b7e7a701bc34d686fa87dfae 0020 0008 0001 a147 e112a643";
        assert_eq!(told(&request(""), "192.0.2.1:32853"), Some(bytes(v4)));
        let v6 = "0101 0018 2112a442 b7e7a701bc34d686fa87dfae 0020 0014 0002 a147
            0113a9faa5d3f179bc25f4b5bed2b9d9";
        let from = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
        assert_eq!(told(&request(""), from), Some(bytes(v6)));
    }

    #[test]
    fn what_may_be_passed_over_is() {
        // SOFTWARE, with padding, and FINGERPRINT.
        let more = "8022 0003 61626300 8028 0004 01020304";
        let answer = told(&request(more), "192.0.2.1:1").expect("an answer");
        assert_eq!(answer[..2], BINDING_SUCCESS);
    }

    #[test]
    fn who_wants_more_than_an_address_is_told_what_is_not_known() {
        // CHANGE-REQUEST, USERNAME, and CHANGE-REQUEST again.
        let wanted = "0003 0004 00000006 0006 0001 61000000 0003 0004 00000002";
        let error = "0111 0010 2112a442 b7e7a701bc34d686fa87dfae
            0009 0004 00000414 000a 0004 0003 0006";
        assert_eq!(told(&request(wanted), "192.0.2.1:1"), Some(bytes(error)));
    }

    #[test]
    fn nothing_else_is_answered() {
        let whole = request("8022 0004 61626364");
        for cut in 0..whole.len() {
            assert_eq!(told(&whole[..cut], "192.0.2.1:1"), None, "{cut} bytes");
        }
        let with = |at: usize, byte: u8| {
            let mut other = whole.clone();
            other[at] = byte;
            other
        };
        // An indication, an answer, another cookie, a length beyond the end, an attribute's.
        for other in [
            with(1, 0x11),
            with(0, 1),
            with(4, 0),
            with(3, 12),
            with(23, 9),
        ] {
            assert_eq!(told(&other, "192.0.2.1:1"), None);
        }
        let long = request(&"8022 0004 61626364".repeat(67));
        assert_eq!(told(&long, "192.0.2.1:1"), None);
    }
}
